"""Each rpc function is the SQL function of its name, and none is missing."""

from __future__ import annotations

import inspect
import re
from types import ModuleType
from typing import Any

import attrs
import psycopg
import pytest

import procrastinate.sql
from procrastinate import jobs
from procrastinate.rpc import defers, front, old_wire, results, wire
from procrastinate.rpc.call import Function

MODULES = {"wire": (wire, defers, results), "front": (front,), "old_wire": (old_wire,)}
ALL = [
    function
    for modules in MODULES.values()
    for module in modules
    for function in module.FUNCTIONS
]

SIGNATURE = """
select
    p.proargnames,
    array(
        select format_type(t.oid, null)
        from unnest(coalesce(p.proallargtypes, p.proargtypes::oid[])) with ordinality
            as x (oid, ordinality)
        join pg_type as t on t.oid = x.oid
        order by x.ordinality
    ) as types,
    p.proargmodes::text[],
    p.prorettype::regtype::text,
    array(
        select a.attname::text
        from pg_attribute as a
        join pg_type as t on t.typrelid = a.attrelid
        where t.oid = p.prorettype and a.attnum > 0
        order by a.attnum
    ) as columns
from pg_proc as p
where p.proname = %s
"""


def declared(family: str) -> set[str]:
    files = (procrastinate.sql.root / "functions" / family).glob("*.sql")
    return {
        name
        for file in files
        for name in re.findall(
            r"^create function (procrastinate_\w+)\(", file.read_text(), re.MULTILINE
        )
    }


@pytest.mark.parametrize("family", MODULES)
def test_every_function_of_the_family_can_be_called_by_one_module(family: str) -> None:
    names = [function.name for module in MODULES[family] for function in module.FUNCTIONS]
    known = set(names)

    assert len(names) == len(known)
    assert declared(family) - known == set()
    # The clock is everybody's: it lives with what the others are made of.
    assert known - declared(family) <= {"procrastinate_now"}


@pytest.mark.parametrize("module", [module for family in MODULES.values() for module in family])
def test_every_function_has_a_typed_python_function_of_its_name(module: ModuleType) -> None:
    for function in module.FUNCTIONS:
        typed: Any = getattr(module, function.name.removeprefix("procrastinate_"))
        assert inspect.isfunction(typed)
        assert "Source: ``sql/functions/" in (typed.__doc__ or "")


@pytest.mark.parametrize("function", ALL, ids=lambda function: function.name)
def test_the_arguments_are_those_of_the_catalogue(
    conn: psycopg.Connection, function: Function
) -> None:
    rows = conn.execute(SIGNATURE, [function.name]).fetchall()

    assert len(rows) == 1, "there are no overloads"
    names, types, modes, _, _ = rows[0]
    modes = modes or ["i"] * len(types)
    arguments = {
        name: sql_type
        for name, sql_type, mode in zip(names or [], types, modes, strict=True)
        if mode == "i"
    }
    assert list(function.arguments.items()) == list(arguments.items())


def test_a_job_without_options_is_told_by_the_first_arguments_alone() -> None:
    plain = front.defer_job(queue_name="q", task_name="t").function
    full = front.defer_job(queue_name="q", task_name="t", options=jobs.JobOptions()).function

    assert plain.name == full.name
    count = len(plain.arguments)
    assert list(plain.arguments.items()) == list(full.arguments.items())[:count]
    # meta is no argument of the front door
    assert {*full.arguments, "meta"} == {*plain.arguments, *attrs.asdict(jobs.JobOptions())}


@pytest.mark.parametrize(
    "function",
    [function for function in ALL if function.columns],
    ids=lambda function: function.name,
)
def test_the_columns_are_those_of_the_catalogue(
    conn: psycopg.Connection, function: Function
) -> None:
    ((names, _, modes, returned, composite),) = conn.execute(
        SIGNATURE, [function.name]
    ).fetchall()

    if modes is not None:
        available = [
            name for name, mode in zip(names, modes, strict=True) if mode in {"t", "o"}
        ]
        assert list(function.columns) == available
    elif returned == "procrastinate_fetched_job_v2":
        assert set(function.columns) == set(composite)  # read by name, in an order of our own
    else:
        assert list(function.columns) == composite


@pytest.mark.parametrize(
    "function",
    [function for function in ALL if not function.columns],
    ids=lambda function: function.name,
)
def test_a_function_without_columns_returns_one_value(
    conn: psycopg.Connection, function: Function
) -> None:
    ((_, _, modes, _, composite),) = conn.execute(SIGNATURE, [function.name]).fetchall()

    assert not composite
    assert not modes or "t" not in modes
