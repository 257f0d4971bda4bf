"""
The steps of an adoption: what is asked of the database, in which order, and what is waited for.

As in :mod:`procrastinate.migrations`, statements are yielded and answers sent in. What takes
long runs without a lock, and whoever waits for a lock of ours waits for some tenths of a
second: docs/decisions/0090-adoption.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, TypeVar

from procrastinate import adoption, exceptions, migrations, shapes, sql

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

T = TypeVar("T")
Steps: TypeAlias = "Generator[migrations.Query | migrations.Script, migrations.Answer, T]"

#: What an adoption is called among migrations.
NAME = "adoption of the schema of 3.x"

#: Jobs that one batch looks at: some tenths of a second.
BATCH = 20_000

#: How often a lock is tried for, with pauses of half a second to five: some ten minutes.
TRIES = 130

#: Tenths of a second that a statement under way may take at most to be waited for: ten seconds
#: are a hundred times what a fetch takes, and transactions of hours are somebody else's.
PATIENCE = 100

_SWITCHED = "select to_regclass('procrastinate_migrations') is not null as switched"
# Whoever builds an index concurrently, and whoever drops one so, holds this lock all the time.
_INDEX_IS = """\
select
    (
        select x.indisvalid
        from pg_index as x join pg_class as c on c.oid = x.indexrelid
        where c.relname = {name} and c.relnamespace = quote_ident(current_schema())::regnamespace
    ) as valid,
    exists (
        select
        from pg_locks as l
        left join pg_stat_activity as a on a.pid = l.pid
        where
            l.database = (select d.oid from pg_database as d where d.datname = current_database())
            and l.relation = {table}::regclass and l.mode = 'ShareUpdateExclusiveLock'
            and l.pid <> pg_backend_pid()
            and a.backend_type is distinct from 'autovacuum worker'
    ) as busy"""

_RUNNING = """\
select l.virtualtransaction as id
from pg_locks as l
join pg_stat_activity as a on a.pid = l.pid and a.datname = current_database()
where l.locktype = 'virtualxid' and l.granted and l.pid <> pg_backend_pid()"""

_RETRIED = {"55P03", "40P01"}  # lock not available, deadlock
_BUILT_TWICE = {"42P07", "40P01"}  # there is one of this name, deadlock


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
        if (yield from adopting(on_begin)):
            done.append(NAME)
    yield from _tidying()
    return done + (yield from migrations.migrating(have, on_begin))


def adopting(on_begin: Callable[[str], None] | None = None) -> Steps[bool]:
    """
    Adopt: expand, derive, switch; whether the switch was ours. What was done is not done again.

    Several may do this at once, each step by one of them: docs/decisions/0136-several-adopt.md.
    """
    plan = adoption.Adoption(found=(yield from describing()))
    if (yield from _switched()):
        return False
    plan.refuse()
    if f"type {adoption.ROW}" not in plan.found:
        yield from _first(adoption.pinned(adoption.sections()["swap"], guard=adoption.NO_ROW))
    if "table procrastinate_adoption" not in plan.found:
        # also after a swap of somebody else's, who may have been killed while he waited
        yield from _waiting_for_calls()
        yield from _first(plan.begin())
        plan = adoption.Adoption(found=(yield from describing()))
    yield from _deriving(on_begin)
    for table, name, build in plan.builds:
        if on_begin is not None:
            on_begin(f"{NAME}: {name}")
        yield from _building(table, name, build)
    yield from _running("analyze procrastinate_todo")
    # The last long stretch is derived before anybody has to wait for it. What another has
    # built or put aside meanwhile is in the plan.
    plan = adoption.Adoption(found=(yield from describing()))
    return (yield from _first(plan.switch(), derive=True))


def describing() -> Steps[dict[str, str]]:
    """Return what the catalogue says."""
    rows = migrations.rows((yield migrations.Query(text=sql.catalogue_query())))
    return {row["object"]: row["definition"] for row in rows}


def _switched() -> Steps[bool]:
    (row,) = migrations.rows((yield migrations.Query(text=_SWITCHED)))
    return bool(row["switched"])


def _deriving(on_begin: Callable[[str], None] | None = None) -> Steps[None]:
    told = 0
    while True:
        answer = yield migrations.Query(text=f"select _procrastinate_adopt({BATCH}) as jobs")
        # another who switches takes the function away
        if isinstance(answer, exceptions.ConnectorException) and (yield from _switched()):
            return
        (row,) = migrations.rows(answer)
        if told and on_begin is not None:
            on_begin(f"{NAME}: {told + row['jobs']} jobs looked at")
        told += row["jobs"]
        if row["jobs"] < BATCH:
            return


def _running(text: str) -> Steps[None]:
    migrations.rows((yield migrations.Script(text=text)))


def _building(table: str, name: str, build: str) -> Steps[None]:
    # Two that build on one table wait for each other: whoever is second looks on, however
    # long it takes. One that was cut short is there, and is not valid.
    tries = TRIES
    while not (yield from _switched()):
        asked = _INDEX_IS.format(table=shapes.literal(table), name=shapes.literal(name))
        (row,) = migrations.rows((yield migrations.Query(text=asked)))
        if row["valid"]:
            return
        if row["busy"]:
            yield from _sleeping(0.5)
            continue
        if row["valid"] is False:
            aside = f"{name}{adoption.ASIDE}"
            yield from _running(f"drop index concurrently if exists {aside}")
            yield from patiently(adoption.aside(table, name))
            yield from _running(f"drop index concurrently if exists {aside}")
            continue
        answer = yield migrations.Script(text=build)
        tries -= 1
        if isinstance(answer, exceptions.ConnectorException) and (
            _code(answer) not in _BUILT_TWICE or not tries
        ):
            raise answer


def _code(error: exceptions.ConnectorException) -> str | None:
    cause = error.__cause__
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)


def _sleeping(seconds: float) -> Steps[None]:
    text = f"select pg_sleep({seconds}) is null as slept"
    migrations.rows((yield migrations.Query(text=text)))


def _first(script: str, *, derive: bool = False) -> Steps[bool]:
    # Its guard says that another was faster: then it is done, and not by us.
    try:
        yield from patiently(script, derive=derive)
    except exceptions.ConnectorException as error:
        if _code(error) != adoption.OVERTAKEN:
            raise
        return False
    return True


def patiently(script: str, *, derive: bool = False) -> Steps[None]:
    """Run a script that gives up soon, until it did not have to."""
    for attempt in range(1, TRIES + 1):
        if derive:
            # all that came while we slept: who waits for the switch waits for the rest
            yield from _deriving()
        text = script.replace(adoption.lock_timeout(0), adoption.lock_timeout(attempt - 1))
        answer = yield migrations.Script(text=text)
        if not isinstance(answer, exceptions.ConnectorException):
            return
        if _code(answer) not in _RETRIED or attempt == TRIES:
            raise answer
        # who waits in the queue goes first
        yield from _sleeping(min(0.25 * attempt, 5.0))


def _waiting_for_calls() -> Steps[None]:
    # Whoever runs a statement now may have looked up what was just changed.
    running = {row["id"] for row in migrations.rows((yield migrations.Query(text=_RUNNING)))}
    for _ in range(PATIENCE):
        if not running:
            return
        yield from _sleeping(0.1)
        now = {row["id"] for row in migrations.rows((yield migrations.Query(text=_RUNNING)))}
        running &= now


def _tidying() -> Steps[None]:
    # What statements that were under way at the switch may still have needed.
    if not (yield from _switched()):
        return
    found = yield from describing()
    left = [match[1] for name in found if (match := adoption.LEFT_BEHIND.fullmatch(name))]
    indexes = adoption.old_indexes(found)
    if left or indexes:
        yield from _waiting_for_calls()
    for name in (*indexes, *adoption.interim_indexes(found)):
        yield from _running(f"drop index concurrently if exists {name}")
    if f"type {adoption.ROW}" in found:
        drops = [f"drop function if exists {signature};" for signature in left]
        dropped = "\n".join([*drops, f"drop type if exists {adoption.ROW};"])
        yield from patiently(adoption.pinned(dropped, guard=""))


# The plan


_SIZES = f"""\
select
    c.relname as name, greatest(c.reltuples, 0)::bigint as rows,
    pg_size_pretty(pg_total_relation_size(c.oid)) as size
from pg_class as c
where
    c.relnamespace = quote_ident(current_schema())::regnamespace
    and c.relname in ({", ".join(map(shapes.literal, adoption.OLD_TABLES))})
order by c.relname"""  # noqa: S608 (of constants)

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
        plan = adoption.Adoption(found=(yield from describing()))
        plan.refuse()
        return [NAME]
    return (yield from migrations.planning(have))


def explaining(have: Sequence[migrations.Migration]) -> Steps[list[str]]:
    """
    Say in sentences what `migrating` would do, and change nothing.
    """
    if not (yield from migrations.holds_3_x()):
        return (yield from migrations.explaining(have))
    plan = adoption.Adoption(found=(yield from describing()))
    plan.refuse()
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
            for _, _, build in plan.builds
        ),
        "  4. the switch, one transaction: clients wait for some tenths of a second. It is "
        f"given up after {adoption.LOCK_TIMEOUT} to {adoption.LONGEST_LOCK_TIMEOUT} ms behind "
        "somebody else, and tried again",
        "  5. old indexes are dropped: nobody waits",
        *(f"  {line}" for line in plan.warnings()),
        *(
            f"  session {row['pid']} has been in a transaction for {row['age']}: if it has "
            "touched these tables, steps 1, 3 and 4 wait until it ends"
            for row in waits
        ),
    ]
