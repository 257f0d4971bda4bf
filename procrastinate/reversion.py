"""
The way back: our schema becomes that of procrastinate 3.x again, with the data.

What that schema is, its own package says: its script is run in a schema aside, read from the
catalogue there, and brought about here. Nothing of it is kept in this project.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attrs

from procrastinate import adopting, adoption, exceptions, migrations, shapes, sql

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

ASIDE = "procrastinate_reversion"

_OURS_FOR_A_WHILE = re.compile(
    r"_?procrastinate_(?:adopt(?:ion)?(?:_\w+)?|fetch_job\w*_(?:adopted|left))"
)
_NAMED_LIKE_OURS = re.compile(r"_?procrastinate_\w+")

_PREPARE = f"""\
drop schema if exists {ASIDE} cascade;
create schema {ASIDE};
set local search_path = {ASIDE};
{{script}}
create function {ASIDE}.described() returns table (object text, definition text)
language sql stable set search_path = {ASIDE} as $described$
{{catalogue}}
$described$;
create function {ASIDE}.defined() returns table (definition text)
language sql stable set search_path = {ASIDE} as $defined$
select replace(pg_get_functiondef(p.oid), 'FUNCTION {ASIDE}.', 'FUNCTION ')
from pg_proc as p
where p.pronamespace = '{ASIDE}'::regnamespace and p.proname ~ '^procrastinate_'
order by p.oid
$defined$;"""  # noqa: S608 (of constants)

# What its foreign keys and its check would refuse; ours are left to triggers.
_MEND = """\
update procrastinate_jobs as j set worker_id = null
where
    j.worker_id is not null
    and not exists (select from procrastinate_workers as w where w.id = j.worker_id);
update procrastinate_jobs as j set abort_requested = false
where j.status = 'todo' and j.abort_requested;
update procrastinate_periodic_defers as p set job_id = null
where not exists (select from procrastinate_jobs as j where j.id = p.job_id);
delete from procrastinate_events as e
where not exists (select from procrastinate_jobs as j where j.id = e.job_id);"""


@attrs.frozen(kw_only=True)
class Reversion:
    """
    What leads back.

    Parameters
    ----------
    found
        What is there.
    expected
        What the script of 3.x has made aside.
    functions
        The definitions of its functions.
    """

    found: Mapping[str, str]
    expected: Mapping[str, str]
    functions: Iterable[str]

    @property
    def shapes(self) -> shapes.Shapes:
        """The shapes of the tables that stay, as they are and as they shall be."""
        return shapes.Shapes(found=self.found, expected=self.expected)

    def script(self) -> str:
        """Return the script that does it, as one transaction."""
        gone = self._gone
        return "\n".join(
            [
                f"lock table {', '.join(sorted(self.shapes.tables))} in access exclusive mode;",
                *(
                    f"drop trigger {own} on {table};"
                    for kind, table, own in map(shapes.words, self.found)
                    if kind == "trigger" and _NAMED_LIKE_OURS.fullmatch(own)
                ),
                *_dropping("view", gone),
                *_dropping("function", gone),
                *_dropping("table", gone),
                *_dropping("type", gone),
                _MEND,
                *self._constraints_and_indexes(),
                *self.shapes.columns_too_many(),
                *self.shapes.settings(),
                *(
                    f"{name} is null;"
                    for name in self.found
                    if re.match(r"comment on (?:table|column|type) ", name)
                    and name not in self.expected
                    and name.removeprefix("comment on ") in self.expected
                ),
                *(f"{text.strip()};" for text in self.functions),
                *(f"{text};" for text in self._of("trigger", self.expected)),
                *self.shapes.comments(),
                f"drop schema {ASIDE} cascade;",
            ]
        )

    @property
    def _gone(self) -> list[str]:
        # All functions go: those of 3.x are made anew, open to everybody as they were.
        locked = migrations.locked_objects()
        return [
            name
            for name in self.found
            if (
                name.startswith("function ")
                and (name in locked or adoption.is_old_function(name) or _is_passing(name))
            )
            or (
                name.startswith(("view ", "table ", "type "))
                and name not in self.expected
                and (name in locked or _is_passing(name))
            )
        ]

    def _of(self, kind: str, described: Mapping[str, str]) -> Iterator[str]:
        return (text for name, text in described.items() if name.startswith(f"{kind} "))

    def _constraints_and_indexes(self) -> Iterator[str]:
        changed = self.shapes.changed_constraints()
        for table, name, _ in changed:
            if f"constraint {table}.{name}" in self.found:
                yield f"alter table {table} drop constraint {name};"
        for table, name, definition in self.shapes.indexes_too_many():
            if name.startswith(("procrastinate_", "idx_procrastinate_")):
                yield f"drop index {name};  -- of {table}: {definition}"
        # keys first: foreign keys refer to them
        for table, name, definition in sorted(changed, key=lambda each: "FOREIGN" in each[2]):
            yield f"alter table {table} add constraint {name} {definition};"
        for definition in self.shapes.missing_indexes():
            yield f"{definition};"


def _is_passing(name: str) -> bool:
    _, _, own = name.partition(" ")
    return _OURS_FOR_A_WHILE.fullmatch(own.partition("(")[0]) is not None


def _dropping(kind: str, names: Iterable[str]) -> Iterator[str]:
    # In one statement: they depend on each other.
    own = [name.removeprefix(f"{kind} ") for name in names if name.startswith(f"{kind} ")]
    if own:
        yield f"drop {kind} {', '.join(own)};"


def reverting(script: str) -> adopting.Steps[None]:
    """
    Bring the schema of 3.x about, given the script that its package prints.
    """
    prepare = _PREPARE.format(
        script=script, catalogue=sql.catalogue_query().rstrip().rstrip(";")
    )
    migrations.rows((yield migrations.Script(text=prepare)))
    asked = yield migrations.Query(text=f"select object, definition from {ASIDE}.described()")  # noqa: S608 (a constant)
    expected = {row["object"]: row["definition"] for row in migrations.rows(asked)}
    if "table procrastinate_jobs" not in expected or "table procrastinate_todo" in expected:
        migrations.rows((yield migrations.Script(text=f"drop schema {ASIDE} cascade")))
        raise exceptions.SchemaMismatch(
            "this is not the schema of procrastinate 3.x: give what its own command "
            "`procrastinate schema --read` prints. Nothing was changed"
        )
    asked = yield migrations.Query(text=f"select definition from {ASIDE}.defined()")  # noqa: S608 (a constant)
    functions = [row["definition"] for row in migrations.rows(asked)]
    found = yield from adopting.describing()
    back = Reversion(found=found, expected=expected, functions=functions)
    yield from adopting.patiently(adoption.pinned(back.script(), guard=""))
