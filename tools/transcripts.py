"""
Runs the psql transcripts of the documentation: blocks of ``psql``, a prompt before each line.

All blocks of a page are one session on one database, which holds the schema and nothing else.
The clock of the queue stands at NOW there, so that a page can show what it prints.

``python -m tools.transcripts docs/sql.md`` writes into a page what psql says today: for whoever
has changed a page and reads the difference before committing it.
"""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys

import attrs
import psycopg

from procrastinate import migrations
from procrastinate.contrib.embedded import EmbeddedServer

NOW = "2030-01-07 09:00:00+00"
PROMPT = "=> "  # of the first line of a statement
MORE = "-> "  # of its other lines
MARK = "-- the end of entry"

BLOCK = re.compile(r"(?<=^```psql\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)
VARYING = ((re.compile(r"PID \d+"), "PID 4711"),)

SETTINGS = f"""\
\\set QUIET on
\\pset pager off
\\set SHOW_CONTEXT never
set timezone to 'UTC';
set procrastinate.now = '{NOW}';
\\set QUIET off
"""


@attrs.frozen
class Entry:
    """What was typed, and what came back, both as the page has them."""

    typed: str
    answer: str

    @property
    def command(self) -> str:
        lines = self.typed.splitlines()
        return "\n".join(line[len(PROMPT) :] for line in lines)


def read(block: str) -> list[Entry]:
    """The entries of a block."""
    entries: list[tuple[list[str], list[str]]] = []
    for line in block.splitlines():
        if line.startswith(PROMPT) or line == PROMPT.rstrip():
            entries.append(([line], []))
        elif not entries:
            raise ValueError(f"a transcript begins with a prompt: {line!r}")
        elif line.startswith(MORE) and not entries[-1][1]:
            entries[-1][0].append(line)
        else:
            entries[-1][1].append(line)
    return [Entry("\n".join(typed), "\n".join(answer).strip("\n")) for typed, answer in entries]


def run(entries: list[Entry], *, psql: str, dsn: str) -> list[Entry]:
    """The same entries with what psql answers."""
    script = SETTINGS + "".join(
        f"{entry.command}\n\\echo {MARK} {number}\n" for number, entry in enumerate(entries)
    )
    done = subprocess.run(
        [psql, "-X", "-d", dsn],
        input=script,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    rest = done.stdout
    answered: list[Entry] = []
    for number, entry in enumerate(entries):
        answer, found, rest = rest.partition(f"{MARK} {number}\n")
        if not found:
            raise ValueError(f"psql has lost its way after {entry.typed!r}: {answer}")
        lines = [line.rstrip() for line in answer.strip("\n").splitlines()]
        answered.append(Entry(entry.typed, levelled("\n".join(lines))))
    return answered


def levelled(text: str) -> str:
    for pattern, instead in VARYING:
        text = pattern.sub(instead, text)
    return text


def rewrite(page: str, *, psql: str, dsn: str) -> str:
    """The page with today's answers."""
    blocks = [read(match[0]) for match in BLOCK.finditer(page)]
    answered = iter(run([entry for block in blocks for entry in block], psql=psql, dsn=dsn))
    texts = iter(
        "".join(
            f"{entry.typed}\n{entry.answer}\n\n" if entry.answer else f"{entry.typed}\n"
            for entry in [next(answered) for _ in block]
        ).rstrip()
        + "\n"
        for block in blocks
    )
    return BLOCK.sub(lambda _: next(texts), page)


def main() -> None:
    with EmbeddedServer(durable=False) as server:
        for number, name in enumerate(sys.argv[1:]):
            with psycopg.connect(server.dsn(), autocommit=True) as connection:
                connection.execute(f"create database page_{number}".encode())
            dsn = server.dsn(f"page_{number}")
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute(migrations.one_file_schema().encode())
            page = pathlib.Path(name)
            program = str(server.bin_directory / "psql")
            page.write_text(rewrite(page.read_text(), psql=program, dsn=dsn))


if __name__ == "__main__":
    main()
