"""
Turn a schema of procrastinate 3.x into ours, in place, while its clients are at work.

Steps as in :mod:`procrastinate.migrations`: statements are yielded, answers sent in. What has
to be waited for is waited for without a lock; see docs/decisions/0090-adoption.md.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attrs

from procrastinate import exceptions, migrations, shapes, sql

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Milliseconds that a script waits for a lock, and whoever comes after it: when it is tried
#: first, how many more each next time, and at most.
LOCK_TIMEOUT, _LONGER, LONGEST_LOCK_TIMEOUT = 120, 10, 400

# In the order in which a statement of 3.x comes to them: a fetch that has the jobs needs the
# workers at its end, and must not find them locked by who waits for the jobs.
OLD_TABLES = (
    "procrastinate_jobs",
    "procrastinate_events",
    "procrastinate_periodic_defers",
    "procrastinate_workers",
)
_LARGE = ("procrastinate_jobs", "procrastinate_events")

#: Functions that 2.x and 3.x have made, whatever their arguments.
_OLD_FUNCTIONS = re.compile(
    r"procrastinate_(?:(?:cancel|defer|fetch|finish|retry)_job|defer_jobs|defer_periodic_job"
    r"|notify_queue(?:_abort_job|_job_inserted)?|sync_abort_requested_with_status"
    r"|trigger_\w+|unlink_periodic_defers|(?:un)?register_worker|prune_stalled_workers"
    r"|update_heartbeat)(?:_v\d+|_temp)?"
)
#: Indexes and checks that 2.x and 3.x have made, and we do without.
_OLD_INDEXES = re.compile(
    r"(?:idx_procrastinate_(?:jobs_worker_not_null|workers_last_heartbeat)"
    r"|procrastinate_jobs_(?:id_lock|lock|priority|queue_name|queueing_lock)_idx(?:_v\d+)?"
    r"|procrastinate_(?:events|periodic_defers)_job_id_fkey(?:_v\d+)?)"
)
_OLD_CHECKS = ("check_not_todo_abort_requested",)
_OWN_FOREIGN_KEY = re.compile(r"FOREIGN KEY .* REFERENCES procrastinate_(?:jobs|workers)\(")

_FUNCTION = re.compile(r"^create (function|procedure|trigger|view) ", re.M)
_INDEX = re.compile(r"^create (unique )?index (\w+)$", re.M)
_REFUSAL = re.compile(r"    -- unless it adopts\n.*?(?=    -- guard\n)", re.S)
_ENUM = "enum of "


@attrs.frozen(kw_only=True)
class Adoption:
    """
    What an adoption does to the database that was found.

    Parameters
    ----------
    found
        The catalogue's description of it, before anything was changed.
    """

    found: Mapping[str, str]

    @property
    def shapes(self) -> shapes.Shapes:
        """The shapes of the old tables, as they are and as they shall be."""
        return shapes.Shapes(found=self.found, expected=migrations.locked_objects())

    def refuse(self) -> None:
        """
        Raise if this is nothing that can be adopted.

        Raises
        ------
        exceptions.SchemaMismatch
            It is older than 3.0, or not the tables of procrastinate.
        """
        missing = [
            name
            for name in (
                "table procrastinate_events",
                "table procrastinate_periodic_defers",
                "column procrastinate_jobs.abort_requested",
            )
            if name not in self.found
        ]
        if missing:
            raise exceptions.SchemaMismatch(
                f"the tables of procrastinate that are there lack {', '.join(missing)}: their "
                "version is older than 3.0 and can't be adopted. Step through procrastinate "
                "3.0.2: apply its migrations up to 03.00.00_01_pre_cancel_notification with "
                "that version's own files, then adopt. Nothing was changed"
            )
        for name, wanted in self.shapes.expected.items():
            have = self.found.get(name, wanted)
            if name.startswith("type ") and not wanted.startswith(have):
                raise exceptions.SchemaMismatch(
                    f"{name} is {have}, where {wanted} was expected: this is no schema of "
                    "procrastinate 3.0 to 3.10. Nothing was changed"
                )

    def warnings(self) -> list[str]:
        """Return what an operator should know before."""
        dropped, _ = self._functions_to_drop()
        gone = sorted(
            line.removeprefix("drop function ").partition("(")[0]
            for line in dropped
            if line.startswith("drop function ")
        )
        said: list[str] = []
        if gone:
            said.append(
                f"gone afterwards, with the clients that call them (of 3.4 and older): "
                f"{', '.join(gone)}"
            )
        going = {line.split()[2] for line in self._triggers_to_drop()}
        said += [
            f"your own trigger {own} on {table} stays; it runs with the search_path of this "
            "schema when a function of ours writes"
            for kind, table, own in map(shapes.words, self.found)
            if kind == "trigger" and own not in going and not own.startswith("procrastinate_")
        ]
        return said

    # Expand: what old clients do not notice

    def begin(self) -> str:
        """Return the script that makes all that is new beside what is there."""
        queries = sections()
        parts = [
            *self._types(),
            *self._tables(),
            _or_replace(sql.read("functions/inner/note_priority.sql")),
            queries["begin"],
        ]
        # from here on everybody waits
        parts.append("lock table procrastinate_jobs in access exclusive mode;")
        parts += self.shapes.columns()
        parts += [
            # nothing is derived so far: whatever is committed from here on leaves a note
            "insert into procrastinate_adoption (job_id)\n"
            "select coalesce(min(j.id), 1) - 1 from procrastinate_jobs as j;",
            queries["note"],
        ]
        return pinned("\n\n".join(parts), guard=NOT_BEGUN)

    def _types(self) -> list[str]:
        parts: list[str] = []
        for path in sql.installed_names():
            if not path.startswith("types/"):
                continue
            text = sql.read(path)
            (name,) = re.findall(r"^create type (\w+) ", text, re.M)
            wanted = self.shapes.expected[f"type {name}"]
            have = self.found.get(f"type {name}")
            if have is None:
                parts.append(text)
            elif wanted.startswith(_ENUM):
                labels = wanted.removeprefix(_ENUM).split(", ")
                more = labels[len(have.removeprefix(_ENUM).split(", ")) :]
                parts += [f"alter type {name} add value '{label}';" for label in more]
        return parts

    def _tables(self) -> list[str]:
        # procrastinate_migrations says that this is ours: it comes with the switch.
        parts: list[str] = []
        for path in sql.installed_names():
            text = sql.read(path) if path.startswith("tables/") else ""
            made = re.findall(r"^create table (\w+) ", text, re.M)
            if made and made != [_MIGRATIONS] and f"table {made[0]}" not in self.found:
                parts.append(_INDEX.sub(self._interim, text))
        return parts

    def _interim(self, found: re.Match[str]) -> str:
        if f"index {found[2]}" not in self.found:
            return found[0]
        return f"create {found[1] or ''}index {found[2]}{shapes.INTERIM}"

    @property
    def builds(self) -> list[tuple[str, str, str]]:
        """Return (table, name, statement) of the indexes that are built before the switch."""
        return self.shapes.indexes_to_build(_LARGE)

    # Switch: one transaction

    def switch(self) -> str:
        """Return the script that makes it ours."""
        names = sql.installed_names()

        def read(prefix: str) -> list[str]:
            return [_or_replace(sql.read(each)) for each in names if each.startswith(prefix)]

        old, triggered = self._functions_to_drop()
        queries = sections()
        migrated = [name for name in names if f"create table {_MIGRATIONS} " in sql.read(name)]
        return pinned(
            "\n\n".join(
                [
                    "set local check_function_bodies = off;",
                    *old,
                    *(sql.read(name) for name in migrated),
                    *read("functions/inner/"),
                    *read("functions/wire/"),
                    *read("functions/front/"),
                    # from here on everybody waits
                    f"lock table {', '.join(OLD_TABLES)} in access exclusive mode;",
                    "do $$ begin perform _procrastinate_adopt(null); end; $$;",
                    *self._triggers_to_drop(),
                    *triggered,
                    *self._constraints(),
                    *self._indexes(),
                    *self.shapes.settings(),
                    *read("functions/old_wire/"),
                    *read("triggers/"),
                    *read("views/"),
                    sql.read("rights.sql"),
                    queries["end"],
                    queries["grant"],
                    *self.shapes.comments(),
                    migrations.record(migrations.known()),
                ]
            )
        )

    def _functions_to_drop(self) -> tuple[list[str], list[str]]:
        # What keeps its name, arguments and result is replaced, and keeps its rights.
        plain: list[str] = []
        triggered: list[str] = []
        for described, definition in self.found.items():
            if not is_old_function(described):
                continue
            signature = described.removeprefix("function ")
            wanted = self.shapes.expected.get(described, "")
            if wanted.partition("; ")[0] == definition.partition("; ")[0]:
                continue
            if f" returns {ROW}" in definition:
                own = signature.partition("(")[0]
                # a call of it may be under way
                plain.append(f"alter function {signature} rename to {own}{_LEFT};")
                continue
            drop = f"drop function {signature};"
            (triggered if " returns trigger" in definition else plain).append(drop)
        return plain, triggered

    def _triggers_to_drop(self) -> list[str]:
        for_functions = re.compile(r"EXECUTE FUNCTION (\w+)\(")
        dropped: list[str] = []
        for described, definition in self.found.items():
            kind, table, own = shapes.words(described)
            function = for_functions.search(definition) if kind == "trigger" else None
            if function and _OLD_FUNCTIONS.fullmatch(function[1]):
                dropped.append(f"drop trigger {own} on {table};")
        return dropped

    def _constraints(self) -> list[str]:
        wanted = self.shapes.changed_constraints()
        changed = {(table, name) for table, name, _ in wanted}
        built = {name for _, name, _ in self.builds}
        parts: list[str] = []
        for described, definition in self.found.items():
            kind, table, own = shapes.words(described)
            if kind != "constraint" or table not in OLD_TABLES:
                continue
            if (
                (table, own) in changed
                or own in _OLD_CHECKS
                or _OWN_FOREIGN_KEY.match(definition)
            ):
                parts.append(f"alter table {table} drop constraint {own};")
        for table, own, definition in wanted:
            if own + shapes.INTERIM in built:
                kind = definition.partition(" (")[0]
                text = f"{kind} using index {own}{shapes.INTERIM}"
            else:
                text = definition
            parts.append(f"alter table {table} add constraint {own} {text};")
        return parts

    def _indexes(self) -> list[str]:
        # An old one whose name is needed goes now, the others later: a statement of an old
        # client that waits for us has still to find its jobs.
        expected = self.shapes.expected
        parts = [
            f"drop index {name};"
            for name in old_indexes(self.found)
            if f"index {name}" in expected
        ]
        constraints = {own for _, own, _ in self.shapes.changed_constraints()}
        interim = {name for _, name, _ in self.builds} | {
            name.removeprefix("index ")
            for name in self.found
            if name.startswith("index procrastinate_") and name.endswith(shapes.INTERIM)
        }
        for name in sorted(interim):
            own = name.removesuffix(shapes.INTERIM)
            if own not in constraints:
                parts.append(f"alter index {name} rename to {own};")
        for _, name, build in self.shapes.indexes_to_build(set(OLD_TABLES) - set(_LARGE)):
            own = name.removesuffix(shapes.INTERIM)
            if own not in constraints:
                parts.append(f"{build.replace(f'CONCURRENTLY {name}', own)};")
        return parts


ROW = "procrastinate_adoption_job"
_LEFT = "_left"
LEFT_BEHIND = re.compile(rf"function (procrastinate_fetch_job\w*(?:_adopted|{_LEFT})\(.*)")

_MIGRATIONS = "procrastinate_migrations"


def old_indexes(found: Mapping[str, str]) -> list[str]:
    """Return the indexes of 3.x, by the names that it gave them, that are not ours."""
    expected = migrations.locked_objects()
    return [
        name
        for described, definition in found.items()
        if described.startswith("index ")
        and _OLD_INDEXES.fullmatch(name := described.removeprefix("index "))
        and expected.get(described) != definition
    ]


#: What follows the name of an index that was cut short.
ASIDE = "_aside"
_PASSING_INDEX = re.compile(rf"index (procrastinate_\w+{shapes.INTERIM}(?:{ASIDE})?)")


def interim_indexes(found: Mapping[str, str]) -> list[str]:
    """Return the indexes that only an adoption has, by its names."""
    return [match[1] for name in found if (match := _PASSING_INDEX.fullmatch(name))]


def aside(table: str, name: str) -> str:
    """
    Return the script that renames an index that was cut short, so that it can be dropped.

    With the lock that whoever builds it holds, so it is none that is being built; and by a
    name that no other process is about to give to a good one.
    """
    return pinned(
        f"""\
lock table {table} in share update exclusive mode;
do $$
begin
    if exists (
        select from pg_index as x
        where x.indexrelid = to_regclass('{name}') and not x.indisvalid
    ) then
        alter index {name} rename to {name}{ASIDE};
    end if;
end;
$$;""",
        guard="",
    )


def _or_replace(text: str) -> str:
    return _FUNCTION.sub(r"create or replace \1 ", text)


def sections() -> Mapping[str, str]:
    return sql.parse_query_file(sql.read_own("adoption.sql"))


#: The error of a script that another process has run meanwhile.
OVERTAKEN = "PQ008"


def _guard(condition: str) -> str:
    return (
        f"    if {condition} then\n"
        "        raise exception 'another process has done this meanwhile'\n"
        f"            using errcode = '{OVERTAKEN}';\n"
        "    end if;\n"
    )


_NOT_YET = _guard(f"'{_MIGRATIONS}' = any(v_there)")
#: Guards: the fetch functions are those of 3.x, nothing is derived.
NO_ROW = _NOT_YET + _guard(f"'{ROW}' = any(v_there)")
NOT_BEGUN = _NOT_YET + _guard("'procrastinate_adoption' = any(v_there)")


def is_old_function(described: str) -> bool:
    """Tell whether ``function name(types)`` has the name of one of 2.x or 3.x."""
    kind, _, signature = described.partition(" ")
    return kind == "function" and bool(_OLD_FUNCTIONS.fullmatch(signature.partition("(")[0]))


def lock_timeout(tries: int) -> str:
    """Return the setting of a script that was tried so often before."""
    longer = min(LOCK_TIMEOUT + _LONGER * tries, LONGEST_LOCK_TIMEOUT)
    return f"set local lock_timeout = {longer};"


def pinned(body: str, guard: str = _NOT_YET) -> str:
    """Return a script that runs in the schema alone, as one transaction, and waits little."""
    head = sql.read("head.sql")
    pins, count = _REFUSAL.subn("", head)
    if count != 1:
        raise ValueError("sql/head.sql lacks the refusal of the tables of 3.x")
    return (
        f"{pins.replace(migrations.GUARD_MARK, guard)}\n"
        f"{lock_timeout(0)}\n\n{body}\n\n{sql.read('foot.sql')}"
    )
