"""
What the site of the documentation has and docs/ has not: its order, the changelog, the helps.

MkDocs calls the functions whose names begin with ``on_``; mkdocs.yml names this file. Pages are
found, not listed: a new one is in the navigation as soon as it is in its directory.
"""

from __future__ import annotations

import importlib.util
import os
import pathlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast
from unittest import mock

from mkdocs.structure.files import File, Files

from procrastinate.cli import parser as cli_parser

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

ROOT = pathlib.Path(__file__).parent.parent
DOCS = ROOT / "docs"
CHANGELOG = "changelog.md"
HELP_COLUMNS = "88"  # what fits beside the navigation
HELPS = "<!-- On the site, the help of each command stands here. -->\n"

# The order of those pages that have one. Any other page of a directory follows, by its name.
BEGIN = ("sql", "quickstart", "python")
OPERATE = (
    "operations",
    "disasters",
    "alerts",
    "backup",
    "sizing",
    "worker",
    "schema",
    "errors",
    "limits",
    "benchmarks",
    "chaos",
)
MOVE = ("coming-from-procrastinate", "differences", "coming-from-saq")
HOWTO = (
    "tasks",
    "deferring",
    "transactions",
    "bulk",
    "retry",
    "retries-as-data",
    "timeouts",
    "results",
    "waiting",
    "progress",
    "locks",
    "keys-and-groups",
    "priorities",
    "periodic",
    "blueprints",
    "middleware",
    "connectors",
    "command-line",
    "shutdown-and-aborts",
    "logging",
    "monitoring",
    "retention",
    "poolers",
    "failover",
    "schema-in-deployments",
    "tenants",
    "testing",
    "asgi",
    "django",
)
REFERENCE = (
    "app",
    "tasks",
    "jobs",
    "manager",
    "retry",
    "middleware",
    "connectors",
    "worker",
    "exceptions",
    "testing",
    "schema",
    "types",
    "utils",
    "command-line",
)
KINDS = ("added", "changed", "fixed", "removed")

# A page of the reference may be about a module that this checkout has not.
NEEDS = re.compile(r"\A---\nneeds: (?P<module>[\w.]+)\n---\n")


def can_stand(page: pathlib.Path) -> bool:
    """Whether what the page is about is there."""
    needs = NEEDS.match(page.read_text())
    return needs is None or importlib.util.find_spec(needs["module"]) is not None


def pages(directory: str, first: Sequence[str] = ()) -> list[str]:
    """The pages of a directory, those of the given names before all others."""
    found = {
        path.stem: path.relative_to(DOCS).as_posix()
        for path in sorted((DOCS / directory).glob("*.md"))
        if can_stand(path)
    }
    return [
        *(found.pop(name) for name in first if name in found),
        *found.values(),
    ]


def navigation() -> list[Any]:
    """All pages, in the order in which somebody may want them: SQL first."""
    top = {pathlib.PurePath(page).stem: page for page in pages("")}
    begin, operate, move = (
        [top.pop(name) for name in names] for names in (BEGIN, OPERATE, MOVE)
    )
    return [
        {"Home": top.pop("index")},
        *begin,
        {"How to": pages("howto", HOWTO)},
        {"Operations": operate},
        {"Reference": pages("reference", REFERENCE)},
        {"From procrastinate 3.10": move},
        {"Decisions": pages("decisions", ("README",))},
        *top.values(),
        {"Changelog": CHANGELOG},
    ]


def changelog() -> str:
    """What has changed, with what is not released yet above it."""
    released = (ROOT / "CHANGELOG.md").read_text()
    heading, _, rest = released.partition("\n## ")
    lines = [heading.splitlines()[0], "", "## Unreleased", ""]
    for kind in KINDS:
        fragments = sorted((ROOT / "changelog.d").glob(f"*.{kind}.md"))
        if fragments:
            lines += [f"### {kind.capitalize()}", ""]
        lines += [as_item(path.read_text().replace("](../docs/", "](")) for path in fragments]
    return "\n".join([*lines, f"## {rest}" if rest else ""])


def as_item(text: str) -> str:
    """A paragraph, or several, as an item of a list."""
    first, *others = text.strip().splitlines()
    return "\n".join([f"- {first}", *(f"    {line}" if line else "" for line in others), ""])


def helps(parser: argparse.ArgumentParser) -> Iterator[str]:
    """What the program and each of its commands answer to ``--help``."""
    yield f"## {parser.prog}\n\n```text\n{parser.format_help()}```\n"
    for action in parser._actions:
        if isinstance(action.choices, Mapping):  # of commands: only they have a parser each
            commands = cast("Mapping[str, argparse.ArgumentParser]", action.choices)
            for command in dict.fromkeys(commands.values()):
                yield from helps(command)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Set the navigation."""
    config.nav = navigation()
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the changelog; leave out what is about a module that is not there."""
    files.append(File.generated(config, CHANGELOG, content=changelog()))
    for file in list(files.documentation_pages()):
        if file.src_uri != CHANGELOG and not can_stand(DOCS / file.src_uri):
            files.remove(file)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put the helps where a page asks for them."""
    if HELPS not in markdown:
        return markdown
    with mock.patch.dict(os.environ, COLUMNS=HELP_COLUMNS):
        return markdown.replace(HELPS, "\n".join(helps(cli_parser.create_parser())))
