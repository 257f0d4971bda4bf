"""The Python and the commands of the pages run, and print what the pages say."""

from __future__ import annotations

import os
import pathlib
import re
import shlex
import subprocess
import sys

import attrs
import pytest

ROOT = pathlib.Path(__file__).parents[3]
PAGES = [
    ROOT / "docs" / "quickstart.md",
    ROOT / "docs" / "python.md",
    ROOT / "docs" / "worker.md",
    *(
        page
        for page in sorted((ROOT / "docs" / "howto").glob("*.md"))
        # what its programs print, or what the command line answers
        if re.search(r"^```(text|console)$", page.read_text(), re.MULTILINE)
        and page.stem != "django"  # followed in a project, by tests/python/django/test_page.py
    ),
]

BLOCK = re.compile(
    r"^```(?P<language>python|text|console)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
MODULE = re.compile(r"# (?P<name>\w+\.py)\n")  # the first line of what is to be saved


# A page may await at the top level, as an asyncio REPL does.
RUN = """\
import ast, asyncio, inspect, sys
code = compile(sys.stdin.read(), "page", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
result = eval(code, {"__name__": "page"})
if inspect.iscoroutine(result):
    asyncio.run(result)
"""


@attrs.frozen
class Reader:
    """Somebody who follows a page, in a directory of theirs."""

    directory: pathlib.Path
    dsn: str

    def run(self, *command: str, given: str = "") -> str:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PG", "PROCRASTINATE_"))
        }
        path = os.pathsep.join([str(self.directory), str(ROOT)])
        done = subprocess.run(
            [sys.executable, *command],
            env={
                **inherited,
                "PYTHONPATH": path,
                "PYTHONUNBUFFERED": "1",  # as on a terminal: in the order in which it is said
                "DATABASE_URL": self.dsn,
                "PROCRASTINATE_APP": "shop.app",
            },
            cwd=self.directory,
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command} {given}: {done.stdout}"
        return done.stdout

    def follow(self, page: str) -> list[tuple[str, str]]:
        """What the page says and what came of it, for each block that says something."""
        compared: list[tuple[str, str]] = []
        printed = ""
        for block in BLOCK.finditer(page):
            text = block["text"]
            if block["language"] == "text":
                compared.append((text, printed))
                continue
            if block["language"] == "console":
                compared.append((text, self.console(text)))
            elif module := MODULE.match(text):
                (self.directory / module["name"]).write_text(text)
            else:
                printed = self.run("-c", RUN, given=text)
        return compared

    def console(self, text: str) -> str:
        answered = ""
        for line in text.splitlines(keepends=True):
            if line.startswith("$ "):
                program, *arguments = shlex.split(line[2:])
                assert program == "procrastinate", "other commands stand in blocks of sh"
                answered += line + self.run("-m", "procrastinate", *arguments)
        return answered


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_reader_sees_what_the_page_says(
    page: pathlib.Path,
    tmp_path: pathlib.Path,
    request: pytest.FixtureRequest,
) -> None:
    text = page.read_text()
    applies = "schema --apply" in "".join(
        block["text"] for block in BLOCK.finditer(text) if block["language"] == "console"
    )
    dsn = request.getfixturevalue("empty_dsn" if applies else "dsn")

    compared = Reader(tmp_path, dsn).follow(text)

    assert compared
    for said, came in compared:
        assert came == said
