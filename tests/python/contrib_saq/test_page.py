"""The programs of the page for those who come from SAQ run."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
import urllib.parse

import psycopg.conninfo

ROOT = pathlib.Path(__file__).parents[3]
PAGE = ROOT / "docs" / "coming-from-saq.md"
PROGRAM = re.compile(r"^```python\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)

# The page awaits at the top level, as an asyncio REPL does.
RUN = """\
import ast, asyncio, sys
code = compile(sys.stdin.read(), "page", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
asyncio.run(eval(code, {"__name__": "page"}))
"""


def test_the_programs_of_the_page_run(dsn: str, tmp_path: pathlib.Path) -> None:
    module, program = (match["text"] for match in PROGRAM.finditer(PAGE.read_text()))
    name, _, text = module.removeprefix("# ").partition("\n")
    (tmp_path / name).write_text(text)
    url = f"postgresql://?{urllib.parse.urlencode(psycopg.conninfo.conninfo_to_dict(dsn))}"
    paths = os.pathsep.join([str(tmp_path), str(ROOT)])

    done = subprocess.run(
        [sys.executable, "-c", RUN],
        input=program,
        env={**os.environ, "PYTHONPATH": paths, "DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )

    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert lines[:2] == ["3", "[11, 12]"]
    assert lines[2].startswith(
        "Job<function=add, kwargs={'a': 0, 'b': 0}, queue=default, key=later"
    )
    assert lines[3] == "None"
