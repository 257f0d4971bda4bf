"""The site of the documentation is built without a warning, and is whole by itself."""

from __future__ import annotations

import html
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[3]

FETCHED = re.compile(
    r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=\"?(?:https?:)?//[^>]*>"
)
NAVIGATION = re.compile(r'<nav class="md-nav md-nav--primary".*?\n</nav>', re.DOTALL)
ENTRY = re.compile(r'<a href="(?P<target>[^"#]+\.html)"')


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    directory = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "-q", "--strict", "-d", str(directory)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")
    return directory


def test_no_page_fetches_anything_from_elsewhere(site: pathlib.Path) -> None:
    built = sorted(site.rglob("*.html"))
    assert built
    assert [(page.name, FETCHED.findall(page.read_text())) for page in built] == [
        (page.name, []) for page in built
    ]


def test_the_navigation_leads_to_sql_before_it_leads_to_python(site: pathlib.Path) -> None:
    navigation = NAVIGATION.search((site / "index.html").read_text())
    assert navigation
    entries = [entry["target"] for entry in ENTRY.finditer(navigation[0])]
    assert entries.index("sql.html") < entries.index("quickstart.html")


def test_each_page_of_the_docs_is_in_the_navigation(site: pathlib.Path) -> None:
    home = (site / "index.html").read_text()
    for page in sorted((ROOT / "docs").rglob("*.md")):
        built = page.relative_to(ROOT / "docs").with_suffix(".html").as_posix()
        built = built.replace("README.html", "index.html")
        if (site / built).exists():
            assert f'href="{built}"' in home
        else:
            assert page.read_text().startswith("---\nneeds: ")


def test_the_changelog_has_what_is_not_released_yet(site: pathlib.Path) -> None:
    text = html.unescape((site / "changelog.html").read_text())
    for fragment in (ROOT / "changelog.d").glob("*.*.md"):
        first_words = " ".join(re.split(r"[`\[]", fragment.read_text())[0].split()[:4])
        assert first_words in " ".join(text.split())


def test_the_help_of_each_command_is_on_its_page(site: pathlib.Path) -> None:
    page = (site / "reference" / "command-line.html").read_text()
    for command in ("worker", "defer", "schema", "healthchecks", "shell"):
        assert f"usage: procrastinate {command} " in page


def test_names_in_docstrings_lead_to_where_they_are_shown(site: pathlib.Path) -> None:
    page = (site / "reference" / "manager.html").read_text()
    target = "#procrastinate.manager.JobManager.defer_job_async"
    assert re.search(rf'Sync version of <a [^>]*href="{target}"', page)
