"""
Turn a schema of procrastinate 3.x into ours, in place, while its clients are at work.

Steps as in :mod:`procrastinate.migrations`: statements are yielded, answers sent in. What has
to be waited for is waited for without a lock; see docs/decisions/0090-adoption.md.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import attrs

from procrastinate import exceptions, migrations, shapes, sql

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

T = TypeVar("T")
Steps: TypeAlias = "Generator[migrations.Query | migrations.Script, migrations.Answer, T]"

#: What an adoption is called among migrations.
NAME = "adoption of the schema of 3.x"

#: Jobs that one batch looks at: some tenths of a second.
BATCH = 20_000

#: Milliseconds that whoever comes after us may have to wait for each of the four tables.
LOCK_TIMEOUT = 120

#: How often a lock is tried for, with pauses of half a second to five: some ten minutes.
TRIES = 130

#: Tenths of a second that a statement under way may take at most to be waited for: ten seconds
#: are a hundred times what a fetch takes, and transactions of hours are somebody else's.
PATIENCE = 100

OLD_TABLES = (
    "procrastinate_periodic_defers",
    "procrastinate_workers",
    "procrastinate_jobs",
    "procrastinate_events",
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

_SWITCHED = "select to_regclass('procrastinate_migrations') is not null as switched"
_VALID = """\
select c.relname as name, x.indisvalid as valid
from pg_index as x join pg_class as c on c.oid = x.indexrelid
where c.relnamespace = quote_ident(current_schema())::regnamespace"""

_RUNNING = """\
select l.virtualtransaction as id
from pg_locks as l
join pg_stat_activity as a on a.pid = l.pid and a.datname = current_database()
where l.locktype = 'virtualxid' and l.granted and l.pid <> pg_backend_pid()"""

_RETRIED = {"55P03", "40P01"}  # lock not available, deadlock


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
        queries = _sections()
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
        return pinned("\n\n".join(parts))

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
    def builds(self) -> list[tuple[str, str]]:
        """Return (name, statement) of the indexes that are built before the switch."""
        return self.shapes.indexes_to_build(_LARGE)

    # Switch: one transaction

    def switch(self) -> str:
        """Return the script that makes it ours."""
        names = sql.installed_names()

        def read(prefix: str) -> list[str]:
            return [_or_replace(sql.read(each)) for each in names if each.startswith(prefix)]

        old, triggered = self._functions_to_drop()
        queries = _sections()
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
            if f" returns {_ROW}" in definition:
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
        built = {name for name, _ in self.builds}
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
        interim = {name for name, _ in self.builds} | {
            name.removeprefix("index ")
            for name in self.found
            if name.startswith("index procrastinate_") and name.endswith(shapes.INTERIM)
        }
        for name in sorted(interim):
            own = name.removesuffix(shapes.INTERIM)
            if own not in constraints:
                parts.append(f"alter index {name} rename to {own};")
        for name, build in self.shapes.indexes_to_build(set(OLD_TABLES) - set(_LARGE)):
            own = name.removesuffix(shapes.INTERIM)
            if own not in constraints:
                parts.append(f"{build.replace(f'concurrently {name}', own)};")
        return parts


_ROW = "procrastinate_adoption_job"
_LEFT = "_left"
_LEFT_BEHIND = re.compile(rf"function (procrastinate_fetch_job\w*(?:_adopted|{_LEFT})\(.*)")

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


def _or_replace(text: str) -> str:
    return _FUNCTION.sub(r"create or replace \1 ", text)


def _sections() -> Mapping[str, str]:
    return sql.parse_query_file(sql.read_own("adoption.sql"))


_NOT_YET = f"""\
    if to_regclass('{_MIGRATIONS}') is not null then
        raise exception 'this schema was adopted meanwhile' using errcode = 'PQ008';
    end if;
"""


def is_old_function(described: str) -> bool:
    """Tell whether ``function name(types)`` has the name of one of 2.x or 3.x."""
    kind, _, signature = described.partition(" ")
    return kind == "function" and bool(_OLD_FUNCTIONS.fullmatch(signature.partition("(")[0]))


def pinned(body: str, guard: str = _NOT_YET) -> str:
    """Return a script that runs in the schema alone, as one transaction, and waits little."""
    head = sql.read("head.sql")
    pins, count = _REFUSAL.subn("", head)
    if count != 1:
        raise ValueError("sql/head.sql lacks the refusal of the tables of 3.x")
    return (
        f"{pins.replace(migrations.GUARD_MARK, guard)}\n"
        f"set local lock_timeout = {LOCK_TIMEOUT};\n\n{body}\n\n{sql.read('foot.sql')}"
    )


# The steps


def migrating(
    have: Sequence[migrations.Migration], on_begin: Callable[[str], None] | None = None
) -> Steps[list[str]]:
    """
    Adopt what is there if it is of 3.x, then apply what is pending; return the names.
    """
    done: list[str] = []
    if (yield from migrations.holds_3_x()):
        if on_begin is not None:
            on_begin(NAME)
        yield from adopting(on_begin)
        done.append(NAME)
    yield from _tidying()
    return done + (yield from migrations.migrating(have, on_begin))


def adopting(on_begin: Callable[[str], None] | None = None) -> Steps[None]:
    """
    Adopt: expand, derive, switch. What was done before is not done again.
    """
    adoption = Adoption(found=(yield from describing()))
    adoption.refuse()
    if f"type {_ROW}" not in adoption.found:
        yield from patiently(pinned(_sections()["swap"]))
        yield from _waiting_for_calls()
    if "table procrastinate_adoption" not in adoption.found:
        yield from patiently(adoption.begin())
        adoption = Adoption(found=(yield from describing()))
    looked_at = yield from _deriving(BATCH)
    told = looked_at
    while looked_at == BATCH:
        looked_at = yield from _deriving(BATCH)
        told += looked_at
        if on_begin is not None:
            on_begin(f"{NAME}: {told} jobs looked at")
    for name, build in adoption.builds:
        if on_begin is not None:
            on_begin(f"{NAME}: {name}")
        yield from _building(name, build)
    yield from _running("analyze procrastinate_todo")
    # The last long stretch is derived before anybody has to wait for it.
    yield from patiently(adoption.switch(), before=_deriving(BATCH))


def describing() -> Steps[dict[str, str]]:
    rows = migrations.rows((yield migrations.Query(text=sql.catalogue_query())))
    return {row["object"]: row["definition"] for row in rows}


def _deriving(most: int) -> Steps[int]:
    answer = yield migrations.Query(text=f"select _procrastinate_adopt({most}) as jobs")
    (row,) = migrations.rows(answer)
    return int(row["jobs"])


def _running(text: str) -> Steps[None]:
    migrations.rows((yield migrations.Script(text=text)))


def _building(name: str, build: str) -> Steps[None]:
    # One that was cut short is there, and is not valid.
    valid = {
        row["name"]: row["valid"]
        for row in migrations.rows((yield migrations.Query(text=_VALID)))
    }
    if valid.get(name) is False:
        yield from _running(f"drop index concurrently {name}")
    if not valid.get(name):
        yield from _running(build)


def patiently(script: str, before: Steps[int] | None = None) -> Steps[None]:
    for attempt in range(1, TRIES + 1):
        if before is not None:
            yield from _deriving(BATCH)
        answer = yield migrations.Script(text=script)
        if not isinstance(answer, exceptions.ConnectorException):
            return
        cause = answer.__cause__
        code = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
        if code not in _RETRIED or attempt == TRIES:
            raise answer
        # who waits in the queue goes first
        pause = min(0.25 * attempt, 5.0)
        migrations.rows(
            (yield migrations.Query(text=f"select pg_sleep({pause}) is null as slept"))
        )


def _waiting_for_calls() -> Steps[None]:
    # Whoever runs a statement now may have looked up what was just changed.
    running = {row["id"] for row in migrations.rows((yield migrations.Query(text=_RUNNING)))}
    for _ in range(PATIENCE):
        if not running:
            return
        migrations.rows((yield migrations.Query(text="select pg_sleep(0.1) is null as slept")))
        now = {row["id"] for row in migrations.rows((yield migrations.Query(text=_RUNNING)))}
        running &= now


def _tidying() -> Steps[None]:
    # What statements that were under way at the switch may still have needed.
    (row,) = migrations.rows((yield migrations.Query(text=_SWITCHED)))
    if not row["switched"]:
        return
    found = yield from describing()
    left = [match[1] for name in found if (match := _LEFT_BEHIND.fullmatch(name))]
    indexes = old_indexes(found)
    if left or indexes:
        yield from _waiting_for_calls()
    for name in indexes:
        yield from _running(f"drop index concurrently if exists {name}")
    if f"type {_ROW}" in found:
        drops = [f"drop function {signature};" for signature in left]
        yield from _running("\n".join([*drops, f"drop type {_ROW};"]))


# The plan


_SIZES = f"""\
select
    c.relname as name, greatest(c.reltuples, 0)::bigint as rows,
    pg_size_pretty(pg_total_relation_size(c.oid)) as size
from pg_class as c
where
    c.relnamespace = quote_ident(current_schema())::regnamespace
    and c.relname in ({", ".join(map(shapes.literal, OLD_TABLES))})
order by c.relname"""

_LONG_TRANSACTIONS = """\
select a.pid, date_trunc('second', now() - a.xact_start)::text as age
from pg_stat_activity as a
where
    a.datname = current_database() and a.pid <> pg_backend_pid()
    and a.xact_start < now() - interval '5 seconds'
order by a.xact_start"""

#: Rows a second, as a small machine does it: for an estimate.
_DERIVED, _INDEXED = 50_000, 300_000


def planning(have: Sequence[migrations.Migration]) -> Steps[list[str]]:
    """
    Return the names of what `migrating` would do.
    """
    if (yield from migrations.holds_3_x()):
        adoption = Adoption(found=(yield from describing()))
        adoption.refuse()
        return [NAME]
    return (yield from migrations.planning(have))


def explaining(have: Sequence[migrations.Migration]) -> Steps[list[str]]:
    """
    Say in sentences what `migrating` would do, and change nothing.
    """
    if not (yield from migrations.holds_3_x()):
        return (yield from migrations.planning(have))
    adoption = Adoption(found=(yield from describing()))
    adoption.refuse()
    sizes = {row["name"]: row for row in migrations.rows((yield migrations.Query(text=_SIZES)))}
    waits = migrations.rows((yield migrations.Query(text=_LONG_TRANSACTIONS)))
    jobs, events = sizes["procrastinate_jobs"], sizes["procrastinate_events"]
    return [
        NAME,
        f"  there are about {jobs['rows']} jobs ({jobs['size']}) and {events['rows']} events "
        f"({events['size']})",
        "  1. new tables, columns and triggers beside the old ones: clients wait for "
        "milliseconds",
        f"  2. what waits and runs is derived, {BATCH} jobs at a time: nobody waits; about "
        f"{jobs['rows'] / _DERIVED:.0f} s",
        *(
            f"  3. {build.partition(' on ')[0]}: nobody waits; about "
            f"{events['rows'] / _INDEXED:.0f} s"
            for _, build in adoption.builds
        ),
        "  4. the switch, one transaction: clients wait for some tenths of a second. It is "
        f"given up after {LOCK_TIMEOUT} ms behind somebody else, and tried again",
        "  5. old indexes are dropped: nobody waits",
        *(f"  {line}" for line in adoption.warnings()),
        *(
            f"  session {row['pid']} has been in a transaction for {row['age']}: if it has "
            "touched these tables, steps 1, 3 and 4 wait until it ends"
            for row in waits
        ),
    ]
