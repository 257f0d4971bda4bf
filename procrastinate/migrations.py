"""
The schema as text, its migrations as values, and what they ask of a database.

Nothing here talks to a database: the generators at the end yield statements and are sent the
answers, so that :mod:`procrastinate.schema` drives the same steps in both colours. Each
migration carries its own guard, lock and record (see ``sql/head.sql``): one applied by hand
with psql and one applied here exclude each other.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from procrastinate import exceptions, sql

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

#: A file's name: version, number (pre from 01, post from 50), phase, what it does.
NAME = re.compile(r"\d{2}\.\d{2}\.\d{2}_\d{2}_(?:pre|post)_[a-z0-9_]+")

#: Where a script puts what must hold before it runs.
GUARD_MARK = "    -- guard\n"
_DIGEST = re.compile(r"'([0-9a-f]{64})'\)")
_REMOVES = re.compile(r"_procrastinate_refuse_removal\('\{([a-z0-9_,]+)\}'\)")
_NO_DIGEST = "0" * 64


@attrs.frozen(kw_only=True)
class Migration:
    """
    One file of ``sql/migrations``.
    """

    name: str
    text: str

    @property
    def is_post(self) -> bool:
        """
        Whether it removes what older versions need; else it only adds.
        """
        return self.name[12:].startswith("post_")

    @property
    def removes(self) -> list[str]:
        """
        The versioned functions that it removes, without ``procrastinate_``.
        """
        found = _REMOVES.search(self.text)
        return found[1].split(",") if found else []

    @property
    def recorded_digest(self) -> str | None:
        """
        The digest that the file says it has, and that it leaves in the database.
        """
        found = _DIGEST.search(self.text)
        return found[1] if found else None

    @property
    def digest(self) -> str:
        """
        The digest that it has: of its text, with zeros in place of the digest itself.
        """
        blank = _DIGEST.sub(f"'{_NO_DIGEST}')", self.text)
        return hashlib.sha256(blank.encode()).hexdigest()

    def stamped(self) -> Migration:
        """
        Return this migration as it is once its record tells its digest.
        """
        return attrs.evolve(self, text=_DIGEST.sub(f"'{self.digest}')", self.text))


@attrs.frozen(kw_only=True)
class Difference:
    """
    One object that is not in the database as ``schema.lock`` says.

    ``expected`` is None for an object that should not be there, ``found`` for one that is
    missing.
    """

    object: str
    expected: str | None
    found: str | None

    @property
    def harmless(self) -> bool:
        """
        Whether it is an addition of somebody else's, such as an index with a name of theirs.
        """
        return self.expected is None and "procrastinate_" not in _own_name(self.object)

    def __str__(self) -> str:
        if self.found is None:
            return f"missing: {self.object}"
        if self.expected is None:
            return f"extra: {self.object}"
        return f"changed: {self.object} (expected: {self.expected}; found: {self.found})"


def _own_name(described: str) -> str:
    # "index a", "constraint table.name", "function f(integer)", "comment on column t.c"
    name = described.partition("(")[0].rpartition(" ")[2]
    return name.rpartition(".")[2] if described.startswith(("constraint", "trigger")) else name


# The text of things


def compose(
    name: str,
    body: str,
    *,
    after: str | Sequence[str] | None = None,
    removes: Sequence[str] = (),
) -> Migration:
    """
    Return the migration that does ``body``, once those named ``after`` were applied.

    It refuses to run while a live worker calls a function among ``removes``, which are named
    without ``procrastinate_``.
    """
    after = [after] if isinstance(after, str) else list(after or ())
    if removes:
        body = f"{_removal(removes)}\n{body.strip()}"
    head = sql.read("head.sql")
    title, _, pins = head.partition("\n\n")
    guard = _guard(name, after)
    if GUARD_MARK not in pins or not title.startswith("-- Procrastinate Schema"):
        raise ValueError("sql/head.sql lacks its title or the place of the guard")
    return Migration(
        name=name,
        text=(
            f"-- Procrastinate migration {name}\n--\n"
            f"-- By hand: psql -1 -v ON_ERROR_STOP=1 -f {name}.sql\n\n"
            f"{pins.replace(GUARD_MARK, guard)}\n{body.strip()}\n\n"
            f"{_record([(name, _NO_DIGEST)])}\n{sql.read('foot.sql')}"
        ),
    ).stamped()


def _removal(removes: Sequence[str]) -> str:
    names = ",".join(sorted(removes))
    return (
        "-- What goes below is needed by no live worker; nobody registers until the end.\n"
        "do $$\nbegin\n"
        f"    perform _procrastinate_refuse_removal('{{{names}}}');\n"
        "end;\n$$;\n"
    )


def _guard(name: str, after: Sequence[str]) -> str:
    # The first migration makes the table of migrations: before it there is nothing to read.
    lines = [
        "declare",
        "    v_applied text[] := '{{}}';",
        "begin",
        "    if 'procrastinate_migrations' = any(v_there) then",
        "        v_applied := array(select m.name from procrastinate_migrations as m);",
        "    end if;",
        "    if '{name}' = any(v_applied) then",
        "        raise exception 'migration {name} was already applied'",
        "            using errcode = 'PQ008';",
        "    end if;",
    ]
    for each in after:
        lines += [
            f"    if not '{each}' = any(v_applied) then",
            f"        raise exception 'migration {each} is missing'",
            "            using errcode = 'PQ008',",
            "                detail = '{name} builds upon it.',",
            "                hint = 'Apply the migrations in the order of their names.';",
            "    end if;",
        ]
    return "".join(f"    {line}\n" for line in [*lines, "end;"]).format(name=name)


def _record(done: Sequence[tuple[str, str]]) -> str:
    lines = ",\n    ".join(f"('{name}', '{digest}')" for name, digest in done)
    return f"insert into procrastinate_migrations (name, sha256)\nvalues\n    {lines};\n"


def record(done: Sequence[Migration]) -> str:
    """
    Return the statement that records these migrations, for a schema that stands for them.
    """
    return _record([(each.name, each.digest) for each in done]) if done else ""


def definitions() -> str:
    """
    Return what an empty schema should become, in the order in which it must run.
    """
    return "\n".join(sql.read(name).strip() + "\n" for name in sql.installed_names())


def one_file_schema() -> str:
    """
    Return the script that makes an empty schema what every migration together would.
    """
    head = sql.read("head.sql").replace(GUARD_MARK, "")
    have = known()
    recorded = record(have) + "\n" if have else ""
    return f"{head}\n{definitions()}\n{recorded}{sql.read('foot.sql')}"


def known() -> list[Migration]:
    """
    Return the migrations that this version has, oldest first.
    """
    return [
        Migration(name=path.stem, text=path.read_text(encoding="utf-8"))
        for path in sorted((sql.root / "migrations").glob("*.sql"), key=lambda path: path.stem)
    ]


def locked_objects() -> dict[str, str]:
    """
    Return the definition of each object, as ``schema.lock`` has it.
    """
    lock = json.loads(sql.lock_path.read_text(encoding="utf-8"))
    return {name: definition for name, (definition, _) in lock["objects"].items()}


# What follows from what


def pending(have: Sequence[Migration], applied: Mapping[str, str]) -> list[Migration]:
    """
    Return what is still to do, given the digest of each migration that was applied.

    Raises
    ------
    exceptions.SchemaMismatch
        A file was edited, or the database knows another history than these files.
    """
    for migration in have:
        if migration.recorded_digest != migration.digest:
            raise exceptions.SchemaMismatch(
                f"migration {migration.name} was edited: its file has the digest "
                f"{migration.digest}, and says {migration.recorded_digest}"
            )
    names = {migration.name for migration in have}
    newest = max(names, default="")
    for name in sorted(applied.keys() - names):
        raise exceptions.SchemaMismatch(
            f"migration {name} was applied to this database, and this version does not know "
            "it: the database is newer"
            if name > newest
            else f"migration {name} was applied to this database, and its file is missing"
        )
    left: list[Migration] = []
    for migration in have:
        if migration.name not in applied:
            left.append(migration)
            continue
        if applied[migration.name] != migration.digest:
            raise exceptions.SchemaMismatch(
                f"migration {migration.name} was edited since it was applied: the database "
                f"has the digest {applied[migration.name]}, the file {migration.digest}"
            )
        # What only adds may come before a removal that has to wait for old workers.
        gap = next((each for each in left if migration.is_post or not each.is_post), None)
        if gap is not None:
            raise exceptions.SchemaMismatch(
                f"migration {gap.name} is missing in this database, though "
                f"{migration.name} was applied after it"
            )
    return left


def compare(expected: Mapping[str, str], found: Mapping[str, str]) -> list[Difference]:
    """
    Return what differs, by the name of the object.
    """
    return [
        Difference(object=name, expected=expected.get(name), found=found.get(name))
        for name in sorted(expected.keys() | found.keys())
        if expected.get(name) != found.get(name)
    ]


# What to ask of the database

#: Rows, or what went wrong: whoever drives the steps hands errors over, so that both colours
#: have one place that decides about them.
Answer: TypeAlias = list[dict[str, Any]] | exceptions.ConnectorException


@attrs.frozen(kw_only=True)
class Query:
    """
    A statement that is answered with rows.
    """

    text: str


@attrs.frozen(kw_only=True)
class Script:
    """
    Several statements, run as one transaction and answered with nothing.
    """

    text: str


_WHAT_IS_THERE = """\
select
    current_schema() as schema,
    to_regclass(quote_ident(current_schema()) || '.procrastinate_jobs') is not null as jobs,
    to_regclass(quote_ident(current_schema()) || '.procrastinate_migrations') is not null
    as migrations"""

_NEEDING = """\
select n.sentence from _procrastinate_needing('{{{}}}') as n where n.alive order by n.worker_id"""

_APPLIED = "select name, sha256 from procrastinate_migrations"


def rows(answer: Answer) -> list[dict[str, Any]]:
    if isinstance(answer, exceptions.ConnectorException):
        raise answer
    return answer


def _read_applied() -> Generator[Query | Script, Answer, dict[str, str] | None]:
    # None: no schema of ours is there.
    (there,) = rows((yield Query(text=_WHAT_IS_THERE)))
    if there["migrations"]:
        held = rows((yield Query(text=_APPLIED)))
        return {row["name"]: row["sha256"] for row in held}
    if there["jobs"]:
        raise exceptions.SchemaMismatch(
            f"schema {there['schema']} holds the tables of procrastinate 3.x: run "
            "`procrastinate schema --migrate`, which adopts them"
        )
    return None


def holds_3_x() -> Generator[Query | Script, Answer, bool]:
    """
    Whether the tables of 3.x are there, and none of ours has replaced them.
    """
    (there,) = rows((yield Query(text=_WHAT_IS_THERE)))
    return bool(there["jobs"] and not there["migrations"])


def applying() -> Generator[Query | Script, Answer, None]:
    """
    Install the schema in one go.
    """
    rows((yield Script(text=one_file_schema())))


def migrating(
    have: Sequence[Migration], on_begin: Callable[[str], None] | None = None
) -> Generator[Query | Script, Answer, list[str]]:
    """
    Apply what is pending, one transaction each; return the names of what was applied here.

    What would remove functions that live workers call is held back, and so is each removal
    after it; what only adds is applied all the same, and then the first of them is refused.
    ``on_begin`` is told the name of each before it is applied.
    """
    done: list[str] = []
    while True:
        applied = yield from _read_applied()
        todo = pending(have, applied or {})
        refusal = yield from _refusal(todo, applied or {})
        if refusal is not None:
            todo = [each for each in todo if each.name < refusal.name or not each.is_post]
        if not todo:
            if refusal is not None:
                raise exceptions.SchemaMismatch(str(refusal))
            return done
        if on_begin is not None:
            on_begin(todo[0].name)
        answer = yield Script(text=todo[0].text)
        if not isinstance(answer, exceptions.ConnectorException):
            done.append(todo[0].name)
            continue
        # Another runner may have been faster while we waited for its lock: then its record
        # is there now, and the next round goes on from it. If not, this error is ours.
        applied = yield from _read_applied()
        if todo[0].name not in (applied or {}):
            raise answer


@attrs.frozen(kw_only=True)
class Refusal:
    """
    A migration that has to wait for workers to go.
    """

    name: str
    sentences: list[str]

    def __str__(self) -> str:
        return (
            f"migration {self.name} is held back: it removes what live workers need: "
            f"{'; '.join(self.sentences)}. Stop them, or start them in a version that does "
            "not call it; then migrate again"
        )


def _refusal(
    todo: Sequence[Migration], applied: Mapping[str, str]
) -> Generator[Query | Script, Answer, Refusal | None]:
    if not applied:
        return None  # nobody can have registered
    for migration in todo:
        if migration.removes:
            found = rows((yield Query(text=_NEEDING.format(",".join(migration.removes)))))
            if found:
                return Refusal(
                    name=migration.name, sentences=[row["sentence"] for row in found]
                )
    return None


def planning(have: Sequence[Migration]) -> Generator[Query | Script, Answer, list[str]]:
    """
    Return the names of what is pending.
    """
    applied = yield from _read_applied()
    return [migration.name for migration in pending(have, applied or {})]


def explaining(have: Sequence[Migration]) -> Generator[Query | Script, Answer, list[str]]:
    """
    Say what is pending, and who is in the way of it.
    """
    applied = yield from _read_applied()
    todo = pending(have, applied or {})
    refusal = yield from _refusal(todo, applied or {})
    return [each.name for each in todo] + ([f"  {refusal}"] if refusal is not None else [])


def checking(
    have: Sequence[Migration], expected: Mapping[str, str]
) -> Generator[Query | Script, Answer, list[Difference]]:
    """
    Compare the database with the lock.
    """
    applied = yield from _read_applied()
    if applied is None:
        raise exceptions.SchemaMismatch(
            "there is no schema of procrastinate in the first schema of the search_path"
        )
    left = pending(have, applied)
    described = rows((yield Query(text=sql.catalogue_query())))
    found = {row["object"]: row["definition"] for row in described}
    missing = [
        Difference(object=f"migration {each.name}", expected=each.digest, found=None)
        for each in left
    ]
    return missing + compare(expected, found)
