"""
Names in the docstrings lead to where the site shows them: `App.task` is a link there.

mkdocs.yml names this file as an extension of griffe, which reads the docstrings. Only what a page
of the reference shows becomes a link: anything else stays a name.
"""

from __future__ import annotations

import pathlib
import re
from typing import TYPE_CHECKING, Any

import griffe

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = pathlib.Path(__file__).parent.parent
SHOWN = re.compile(r"^::: (?P<name>[\w.]+)$", re.MULTILINE)
NAME = re.compile(r"(?<!`)`(?P<name>[A-Za-z_][\w.]*)`(?!`)")


def shown() -> Iterator[str]:
    """The names that the pages of the reference ask for."""
    for page in sorted((ROOT / "docs" / "reference").glob("*.md")):
        yield from SHOWN.findall(page.read_text())


def public(thing: griffe.Object | griffe.Alias) -> Iterator[str]:
    """The members that are on a page when the thing is."""
    for name, member in thing.members.items():
        if not name.startswith("_") and not member.is_alias and member.has_docstring:
            yield name


def parts(thing: griffe.Object | griffe.Alias) -> Iterator[griffe.Class]:
    """The classes of a package that a class is made of, where the package is a class's own."""
    if isinstance(thing, griffe.Class) and thing.module.is_init_module:
        for base in thing.resolved_bases:
            if isinstance(base, griffe.Class) and base.module.parent is thing.module:
                yield base


def targets(package: griffe.Module) -> dict[str, str]:
    """What docstrings call things, and what the site calls them."""
    found: dict[str, str] = {}
    for name in shown():
        try:
            thing = package[name.partition(".")[2]]
        except KeyError:
            continue  # of a module that this checkout has not: its page is left out, too
        if thing.is_alias:
            thing = thing.final_target
        prefixes = ["", f"{thing.name}."] if thing.is_module else [f"{thing.name}."]
        if not thing.is_module:
            found[thing.name] = found[f"{thing.parent.name}.{thing.name}"] = name
        for member in public(thing):
            for prefix in prefixes:
                found[prefix + member] = f"{name}.{member}"
        for part in parts(thing):
            found |= {f"{part.name}.{member}": f"{name}.{member}" for member in public(part)}
    return found


class DocstringLinks(griffe.Extension):
    """Rewrites the docstrings of a package once it is read."""

    def on_package(self, *, pkg: griffe.Module, loader: griffe.GriffeLoader, **_: Any) -> None:
        """Make links of the names that have a place on the site."""
        if pkg.name == "procrastinate":
            self._link(pkg, targets(pkg))

    def _link(self, thing: griffe.Object, found: dict[str, str]) -> None:
        if thing.docstring is not None:
            around = thing.parent.name if thing.parent is not None else ""

            def link(name: re.Match[str]) -> str:
                target = found.get(f"{around}.{name['name']}") or found.get(name["name"])
                return f"[{name[0]}][{target}]" if target else name[0]

            thing.docstring.value = NAME.sub(link, thing.docstring.value)
        for member in thing.members.values():
            if isinstance(member, griffe.Object):
                self._link(member, found)
