"""The page of the command line has what the program understands, and nothing else."""

from __future__ import annotations

import argparse
import pathlib
import re
from typing import Any

import pytest

from procrastinate import cli, shell

PAGE = pathlib.Path(__file__).parents[3] / "docs" / "howto" / "command-line.md"

TITLE = re.compile(r"^## (?P<title>.*)$", re.MULTILINE)
OPTION = re.compile(r"`(-{1,2}[a-z][a-z-]*|-V)`")
VARIABLE = re.compile(r"`(PROCRASTINATE_[A-Z_]+)`")
VARIABLE_IN_HELP = re.compile(r"\(env: (PROCRASTINATE_[A-Z_]+)")


def tables() -> dict[str, str]:
    """The rows of the tables under each title of the page."""
    text = PAGE.read_text()
    found = list(TITLE.finditer(text))
    ends = [title.start() for title in found[1:]] + [len(text)]
    return {
        title["title"].strip("`"): "\n".join(
            line for line in text[title.end() : end].splitlines() if line.startswith("| ")
        )
        for title, end in zip(found, ends, strict=True)
    }


def parsers() -> dict[str, argparse.ArgumentParser]:
    top = cli.create_parser()
    commands: dict[str, argparse.ArgumentParser] = {}
    for action in top._actions:
        choices: Any = action.choices
        if isinstance(choices, dict):
            commands |= choices
    return {"What holds for all commands": top, **commands}


def options(parser: argparse.ArgumentParser, *, but: set[str]) -> set[str]:
    return {name for action in parser._actions for name in action.option_strings} - but


def variables(parser: argparse.ArgumentParser) -> set[str]:
    return {
        name
        for action in parser._actions
        for name in VARIABLE_IN_HELP.findall(str(action.help))
    }


def test_each_command_has_a_part_of_the_page() -> None:
    assert list(tables()) == list(parsers())


@pytest.mark.parametrize("command", parsers())
def test_the_options_of_a_command_are_those_of_the_page(command: str) -> None:
    parser = parsers()[command]
    # help is told of once, for all of them
    but = set[str]() if command.startswith("What") else {"-h", "--help"}

    first_cells = "\n".join(row.split("|")[1] for row in tables()[command].splitlines())

    assert set(OPTION.findall(first_cells)) == options(parser, but=but)
    assert set(VARIABLE.findall(tables()[command])) == variables(parser)


@pytest.mark.parametrize("command", parsers())
def test_the_choices_of_an_option_are_on_the_page(command: str) -> None:
    for action in parsers()[command]._actions:
        choices: Any = action.choices
        if choices is None or isinstance(choices, dict):
            continue
        (row,) = (
            row
            for row in tables()[command].splitlines()
            if f"`{action.option_strings[-1]}`" in row.split("|")[1]
        )
        for choice in choices:
            assert f"`{getattr(choice, 'value', choice)}`" in row


def test_the_commands_of_the_shell_are_on_the_page() -> None:
    there = {
        name.removeprefix("do_")
        for name in dir(shell.ProcrastinateShell)
        if name.startswith("do_")
    }

    named = set(re.findall(r"`(\w+)[^`]*`", tables()["shell"]))

    assert named == there
