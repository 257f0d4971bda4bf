"""What the documentation of 3.10 lists has a docstring, which says what its parameters are."""

from __future__ import annotations

import importlib.util
import pathlib
import re
from typing import cast

import griffe
import pytest

ROOT = pathlib.Path(__file__).parents[3]
PAGES = sorted((ROOT / "docs" / "reference").glob("*.md"))
LISTED = [
    line
    for line in (ROOT / "tests" / "api" / "procrastinate-documented-names.txt")
    .read_text()
    .splitlines()
    if line and not line.startswith("#")
]

SHOWN = re.compile(r"^::: (?P<name>[\w.]+)$", re.MULTILINE)
MODULE = re.compile(r"[a-z0-9_.]+(?=\.)")
OPTIONS = re.compile(r"Unpack\[(?P<typed_dict>\w+)\]")
ELSEWHERE = re.compile(r"(?:Sync version of|[Ss]ee) `(?:\w+\.)?(?P<name>\w+)`")
OTHERS = re.compile(r"All other arguments")  # said in a sentence, not in a list


def is_there(name: str) -> bool:
    """Whether this checkout has the module of a name."""
    *packages, last = name.split(".")
    for depth in range(2, len(packages) + 1):
        module = ".".join(packages[:depth])
        if not re.fullmatch(r"[a-z0-9_.]+", module):
            break
        if importlib.util.find_spec(module) is None:
            return False
    return bool(last)


NAMES = [name for name in LISTED if is_there(name)]


@pytest.fixture(scope="module")
def package() -> griffe.Module:
    return cast(
        "griffe.Module",
        griffe.load(
            "procrastinate",
            search_paths=[ROOT],
            docstring_parser="numpy",
            docstring_options={"warn_unknown_params": False, "warn_missing_types": False},
        ),
    )


def find(package: griffe.Module, name: str) -> griffe.Object:
    """The object of a dotted name, wherever it is defined."""
    found: griffe.Object | griffe.Alias = package
    for part in name.split(".")[1:]:
        found = found.all_members[part]
        if isinstance(found, griffe.Alias):
            found = found.final_target
    return cast("griffe.Object", found)


def described(thing: griffe.Object) -> set[str]:
    """The parameters that a docstring has, or, of a class, the attributes that have one."""
    names: set[str] = set()
    if thing.docstring is not None:
        for section in thing.docstring.parsed:
            if isinstance(section, griffe.DocstringSectionParameters):
                names |= {parameter.name.lstrip("*") for parameter in section.value}
    return names


def attributes(thing: griffe.Object) -> set[str]:
    return {name for name, member in thing.all_members.items() if member.has_docstring}


def parameters(thing: griffe.Object) -> dict[str, set[str]]:
    """The parameters, and what each takes: itself, or options by the names of a TypedDict."""
    if isinstance(thing, griffe.Class):
        own_init = "__init__" in thing.members or "dataclass" in thing.labels
        listed = thing.parameters if own_init else griffe.Parameters()
    elif isinstance(thing, griffe.Function):
        listed = thing.parameters
    else:
        return {}
    taken: dict[str, set[str]] = {}
    for parameter in listed:
        if parameter.name in {"self", "cls", "_"}:
            continue
        taken[parameter.name] = {parameter.name}
        if options := OPTIONS.search(str(parameter.annotation)):
            typed_dict = find(thing.package, thing.module.resolve(options["typed_dict"]))
            taken[parameter.name] = set(typed_dict.all_members)
    return taken


def undescribed(thing: griffe.Object) -> set[str]:
    """The parameters that nothing is said about."""
    assert thing.docstring is not None
    text = thing.docstring.value
    said = described(thing)
    if isinstance(thing, griffe.Class):
        said |= attributes(thing)
        if "__init__" in thing.members:  # the docstring of an exception is its message
            said |= described(cast("griffe.Object", thing.members["__init__"]))
    if (elsewhere := ELSEWHERE.search(text)) and thing.parent is not None:
        other = thing.parent.all_members.get(elsewhere["name"])
        if other is not None:
            said |= described(cast("griffe.Object", other))
    missing: set[str] = set()
    for name, names in parameters(thing).items():
        if name in said or (name == "kwargs" and OTHERS.search(text)):
            continue
        missing |= names - said
    return missing


def test_there_are_names_to_look_at() -> None:
    assert "procrastinate.App.task" in NAMES
    assert "procrastinate.manager.JobManager.list_jobs" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_name_has_a_docstring_that_says_what_its_parameters_are(
    package: griffe.Module, name: str
) -> None:
    thing = find(package, name)

    assert thing.has_docstring
    assert undescribed(thing) == set()


@pytest.mark.parametrize("name", NAMES)
def test_no_docstring_has_parameters_that_the_function_has_not(
    package: griffe.Module, name: str
) -> None:
    thing = find(package, name)
    if isinstance(thing, griffe.Function):
        taken = set(parameters(thing)).union(*parameters(thing).values())
        assert described(thing) - taken == set()


def test_each_name_is_on_a_page_of_the_reference() -> None:
    shown = {name for page in PAGES for name in SHOWN.findall(page.read_text())}
    assert [
        name
        for name in LISTED
        if not any(name == root or name.startswith(f"{root}.") for root in shown)
    ] == []
