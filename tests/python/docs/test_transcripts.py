"""Each psql transcript of the documentation says what psql says."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING

import pytest

from tools import transcripts

if TYPE_CHECKING:
    from procrastinate.contrib.embedded import EmbeddedServer

ROOT = pathlib.Path(__file__).parents[3]
PAGES = [
    page
    for page in sorted((ROOT / "docs").rglob("*.md"))
    if transcripts.BLOCK.search(page.read_text())
]


def test_the_page_for_other_languages_has_transcripts() -> None:
    assert ROOT / "docs" / "sql.md" in PAGES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_psql_answers_what_the_page_says(
    page: pathlib.Path, dsn: str, embedded_server: EmbeddedServer
) -> None:
    text = page.read_text()

    today = transcripts.rewrite(text, psql=str(embedded_server.bin_directory / "psql"), dsn=dsn)

    assert today.splitlines() == text.splitlines()


def test_a_wrong_answer_is_noticed(dsn: str, embedded_server: EmbeddedServer) -> None:
    page = "```psql\n=> select 1 as one;\n one\n-----\n   2\n(1 row)\n```\n"

    today = transcripts.rewrite(page, psql=str(embedded_server.bin_directory / "psql"), dsn=dsn)

    assert "   1\n" in today


def test_errors_stand_where_they_happened(dsn: str, embedded_server: EmbeddedServer) -> None:
    typed = [
        transcripts.Entry("=> select 1 / 0;", ""),
        transcripts.Entry("=> \\echo :LAST_ERROR_SQLSTATE", ""),
    ]

    answered = transcripts.run(typed, psql=str(embedded_server.bin_directory / "psql"), dsn=dsn)

    assert [entry.answer for entry in answered] == ["ERROR:  division by zero", "22012"]
