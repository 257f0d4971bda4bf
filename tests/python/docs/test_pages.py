"""What the pages name is there, and what must be on a page is on it."""

from __future__ import annotations

import pathlib
import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import psycopg

ROOT = pathlib.Path(__file__).parents[3]
DECISIONS = ROOT / "docs" / "decisions"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]

LINK = re.compile(r"(?<!!)\[[^\]]+\]\((?P<target>[^)\s]+)\)")
HEADING = re.compile(r"^#+ (?P<text>.*)$", re.MULTILINE)
# `add[1](...)`: code without a link around it.
NOT_LINKED = re.compile(r"`[^`\n]*\]\([^`\n]*`")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
DECISION = re.compile(r"docs/decisions/(?P<name>[\w-]+\.md)")
FUNCTION = re.compile(r"\bprocrastinate_[a-z0-9_]+(?=\()")


def anchors(page: pathlib.Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = FENCED.sub("", page.read_text())
    return {
        re.sub(r"[^\w\- ]", "", heading["text"].lower()).replace(" ", "-")
        for heading in HEADING.finditer(text)
    }


def rows(page: pathlib.Path) -> list[str]:
    return [line for line in page.read_text().splitlines() if line.startswith("|")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_each_link_leads_somewhere(page: pathlib.Path) -> None:
    for link in LINK.finditer(NOT_LINKED.sub("", FENCED.sub("", page.read_text()))):
        path, _, anchor = link["target"].partition("#")
        if path.startswith(("http://", "https://")):
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link[0]
        assert not anchor or anchor in anchors(target), link[0]


def test_each_decision_that_a_file_names_is_written() -> None:
    named = {
        (path.relative_to(ROOT).as_posix(), found["name"])
        for directory in ("sql", "procrastinate", "tests", "tools", "benchmarks")
        for path in (ROOT / directory).rglob("*")
        if path.suffix in {".sql", ".py", ".md"}
        for found in DECISION.finditer(path.read_text())
    }
    assert named
    assert [(path, name) for path, name in named if not (DECISIONS / name).exists()] == []


def test_each_decision_is_in_the_list() -> None:
    listed = {link["target"] for link in LINK.finditer((DECISIONS / "README.md").read_text())}
    assert listed == {path.name for path in DECISIONS.glob("[0-9]*.md")}


def test_the_two_commands_of_the_readme_are_targets() -> None:
    readme = (ROOT / "README.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    commands = re.findall(r"^make (\w+) ", readme, re.MULTILINE)
    assert commands == ["demo", "test"]
    for command in commands:
        assert re.search(rf"^{command}: ", makefile, re.MULTILINE)


def test_the_readme_leads_to_sql_before_it_leads_to_python() -> None:
    readme = (ROOT / "README.md").read_text()
    assert readme.index("docs/sql.md") < readme.index("docs/quickstart.md")


def test_the_page_of_errors_has_every_code() -> None:
    source = rows(ROOT / "sql" / "sqlstates.md")
    assert source
    assert rows(ROOT / "docs" / "errors.md") == source


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_each_function_that_is_named_exists(
    page: pathlib.Path, conn: psycopg.Connection
) -> None:
    there = {
        str(row[0])
        for row in conn.execute(
            "select proname from pg_proc where pronamespace = 'public'::regnamespace"
        )
    }
    text = page.read_text()
    assert {name for name in FUNCTION.findall(text) if not name.endswith("_")} - there == set()


def test_each_function_for_people_is_on_the_page_of_sql() -> None:
    page = (ROOT / "docs" / "sql.md").read_text()
    front = {
        f"procrastinate_{path.stem}"
        for path in (ROOT / "sql" / "functions" / "front").glob("*.sql")
    }
    views = {f"procrastinate_{path.stem}" for path in (ROOT / "sql" / "views").glob("*.sql")}
    assert {name for name in front | views if name not in page} == set()
