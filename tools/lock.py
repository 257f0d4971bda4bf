"""
Keep ``sql/``, its migrations and ``schema.lock`` in step.

``python -m tools.lock check`` says what has fallen out of step, without a database.
``python -m tools.lock update`` writes the lock anew; it reads the definitions of all objects
from a server (PROCRASTINATE_DSN, else the embedded one), in a transaction that it rolls back.
``python -m tools.lock draft WHAT`` writes the migration for what changed since the lock.
``python -m tools.lock release`` makes the migrations immutable.

Until the first release there is one migration, the baseline, which is written from the tree:
``update`` and ``draft`` renew it, and nothing is drafted.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import sys
import tomllib
from typing import TYPE_CHECKING

import attrs
import psycopg

from procrastinate import migrations, sql
from procrastinate.contrib.embedded import choose_server

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterable, Mapping


BASELINE = "04.00.00_01_pre_baseline"
HAND = "-- by hand: "
#: A function that workers call, without "procrastinate_".
DROPPED = re.compile(
    r"\bdrop\s+(?:function|procedure|routine)\s+(?:if\s+exists\s+)?procrastinate_(\w+_v\d+)",
    re.I,
)
_WIRE = re.compile(r"sql/functions/(?:old_)?wire/(\w+)\.sql")


@attrs.frozen(kw_only=True)
class Lock:
    """
    What ``schema.lock`` holds: (value, migration that last touched it), by name.
    """

    files: dict[str, tuple[str, str]]
    objects: dict[str, tuple[str, str]]
    #: name of a migration -> (digest, whether it was released)
    migrations: dict[str, tuple[str, bool]]

    @classmethod
    def read(cls) -> Lock:
        if not sql.lock_path.is_file():
            return cls(files={}, objects={}, migrations={})
        held = json.loads(sql.lock_path.read_text(encoding="utf-8"))
        return cls(
            **{
                part: {name: (value[0], value[1]) for name, value in held[part].items()}
                for part in ("files", "objects", "migrations")
            }
        )

    def write(self) -> None:
        # One entry a line, so that a diff of this file says what changed.
        parts = [
            f"{json.dumps(part)}: {{\n"
            + ",\n".join(
                f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}"
                for name, value in sorted(entries.items())
            )
            + "\n}"
            for part, entries in attrs.asdict(self, recurse=False).items()
        ]
        sql.lock_path.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")

    @property
    def released(self) -> set[str]:
        return {name for name, (_, released) in self.migrations.items() if released}


def digests() -> dict[str, str]:
    """
    Return the digest of every file that defines something, by its path.
    """
    return {
        path.relative_to(sql.root.parent).as_posix(): hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for path in sorted(sql.root.rglob("*"))
        if path.is_file() and path.parent.name != "migrations"
    }


def baseline() -> migrations.Migration:
    return migrations.compose(BASELINE, migrations.definitions())


def path_of(name: str) -> pathlib.Path:
    return sql.root / "migrations" / f"{name}.sql"


# check


def problems() -> list[str]:
    """
    Return what does not fit together, in sentences.
    """
    lock, have, found = Lock.read(), migrations.known(), digests()
    said = [*_unsorted(have), *_unlisted()]
    for migration in have:
        if not migrations.NAME.fullmatch(migration.name):
            said.append(f"{migration.name}: not named XX.YY.ZZ_NN_{{pre|post}}_what_it_does")
        if migration.recorded_digest != migration.digest:
            said.append(f"{migration.name}: was edited and says another digest")
        if HAND in migration.text:
            said.append(f"{migration.name}: a part is still to be written by hand")
        said += _undeclared(migration)
        digest, released = lock.migrations.get(migration.name, (None, False))
        if digest != migration.digest:
            why = "was released, and has changed" if released else "differs from the lock"
            said.append(f"{migration.name}: {why}")
    gone = lock.migrations.keys() - {migration.name for migration in have}
    said += [f"{name}: in the lock, and its file is missing" for name in sorted(gone)]
    said += [
        f"{name}: differs from the lock"
        for name in sorted(found.keys() | lock.files.keys())
        if found.get(name) != lock.files.get(name, (None, ""))[0]
    ]
    if BASELINE not in lock.released and [baseline()] != have:
        said.append(f"{BASELINE}: differs from the definitions")
    return said


def _unsorted(have: Iterable[migrations.Migration]) -> list[str]:
    # Numbers say the phase: pre below 50, post from 50.
    return [
        f"{each.name}: pre has numbers from 01 to 49, post from 50"
        for each in have
        if migrations.NAME.fullmatch(each.name)
        and (int(each.name[9:11]) < 50) != (each.name[12:].startswith("pre_"))
    ]


def _undeclared(migration: migrations.Migration) -> list[str]:
    # What only adds drops no function that somebody may call; a removal says which it drops.
    dropped = {each[1] for each in DROPPED.finditer(migration.text)}
    declared = set(migration.removes) if migration.is_post else set[str]()
    return [
        f"{migration.name}: drops procrastinate_{name} and does not declare it"
        for name in sorted(dropped - declared)
    ]


def _unlisted() -> list[str]:
    # A definition in no pattern of the install order would reach no database.
    listed = set(sql.installed_names()) | {"head.sql", "foot.sql"}
    files = [path.relative_to(sql.root) for path in sql.root.rglob("*.sql")]
    return [
        f"sql/{path.as_posix()}: not in sql/install_order.txt"
        for path in sorted(files)
        if path.as_posix() not in listed and path.parts[0] != "migrations"
    ]


# update


def read_catalogue(dsn: str) -> dict[str, str]:
    """
    Return each object of a fresh install and its definition, leaving the server as it was.
    """
    with psycopg.connect(dsn) as conn:
        scratch = f"procrastinate_lock_{os.getpid()}"
        conn.execute(f"create schema {scratch}".encode())
        conn.execute(f"set local search_path = {scratch}".encode())
        conn.execute(migrations.one_file_schema().encode())
        found: list[tuple[str, str]] = conn.execute(sql.catalogue_query().encode()).fetchall()
        conn.rollback()
    return dict(found)


def update(dsn: str) -> Lock:
    """
    Write the lock anew.
    """
    old = Lock.read()
    if BASELINE not in old.released:
        _write(baseline())
    for migration in migrations.known():
        if migration.name not in old.released:
            _write(migration.stamped())
    have = migrations.known()
    newest = have[-1].name
    lock = Lock(
        files=_touched(digests(), old.files, newest),
        objects=_touched(read_catalogue(dsn), old.objects, newest),
        migrations={each.name: (each.digest, each.name in old.released) for each in have},
    )
    lock.write()
    return lock


def _touched(
    new: Mapping[str, str], old: Mapping[str, tuple[str, str]], newest: str
) -> dict[str, tuple[str, str]]:
    return {
        name: old[name] if old.get(name, ("",))[0] == value else (value, newest)
        for name, value in new.items()
    }


def _write(migration: migrations.Migration) -> None:
    path = path_of(migration.name)
    path.parent.mkdir(exist_ok=True)
    if not path.is_file() or path.read_text(encoding="utf-8") != migration.text:
        path.write_text(migration.text, encoding="utf-8")


# draft


def draft(what: str, version: str) -> list[migrations.Migration]:
    """
    Write what would bring a database of the lock to the definitions of today.

    Bodies are copied; changes of tables and types are for a person to write, and until that
    is done the migration refuses to run.
    """
    lock, found = Lock.read(), digests()
    if BASELINE not in lock.released:
        migration = baseline()
        _write(migration)
        return [migration]
    order = [f"sql/{name}" for name in sql.installed_names()]
    changed = [name for name in order if found[name] != lock.files.get(name, ("", ""))[0]]
    gone = sorted(lock.files.keys() - found.keys())
    drafted: list[migrations.Migration] = []
    for phase, first, body in (
        ("pre", 1, "\n\n".join(_step(name, new=name not in lock.files) for name in changed)),
        ("post", 50, "\n\n".join(f"{HAND}drop what {name} defined" for name in gone)),
    ):
        if body:
            have = migrations.known()
            names = [each.name for each in have]
            # A removal may come late: what is added builds upon what was added alone.
            last = [
                max((each.name for each in have if each.is_post == is_post), default=None)
                for is_post in ([False, True] if phase == "post" else [False])
            ]
            number = 1 + max(
                [int(name[9:11]) for name in names if name.startswith(f"{version}_")
                 and name[12:].startswith(phase)], default=first - 1,
            )  # fmt: skip
            migration = migrations.compose(
                f"{version}_{number:02}_{phase}_{what}",
                f"-- Rather fail than make every worker wait behind this.\n"
                f"set local lock_timeout = '5s';\n\n{body}",
                after=[name for name in last if name is not None],
                removes=[wire[1] for name in gone if (wire := _WIRE.fullmatch(name))]
                if phase == "post"
                else [],
            )
            _write(migration)
            drafted.append(migration)
    return drafted


def _step(name: str, *, new: bool) -> str:
    text = (sql.root.parent / name).read_text(encoding="utf-8").strip()
    if new:
        return text
    if name.startswith(("sql/tables/", "sql/types/")):
        return f"{HAND}bring a database to what {name} says now"
    return re.sub(
        r"^create (function|procedure|trigger|view) ",
        r"create or replace \1 ",
        text,
        flags=re.M,
    )


def package_version() -> str:
    """
    Return the version of the package, as the name of a migration spells it.
    """
    with (sql.root.parent / "pyproject.toml").open("rb") as file:
        version: str = tomllib.load(file)["project"]["version"]
    return ".".join(f"{int(part):02}" for part in re.findall(r"\d+", version)[:3])


def release() -> None:
    """
    Make every migration immutable.
    """
    lock = Lock.read()
    attrs.evolve(
        lock, migrations={name: (digest, True) for name, (digest, _) in lock.migrations.items()}
    ).write()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.lock", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check")
    commands.add_parser("release")
    commands.add_parser("update").add_argument("--dsn")
    drafting = commands.add_parser("draft")
    drafting.add_argument("what", nargs="?", default="change")
    drafting.add_argument("--version", default=package_version())
    options = parser.parse_args(argv)
    match options.command:
        case "check":
            said = problems()
            for sentence in said:
                print(sentence, file=sys.stderr)
            if said:
                print("Run: python -m tools.lock update, or make migration.", file=sys.stderr)
            return bool(said)
        case "update":
            with choose_server(options.dsn, libpq=False) as chosen:
                lock = update(chosen.dsn)
            print(f"{len(lock.objects)} objects, {len(lock.migrations)} migrations")
        case "draft":
            for migration in draft(options.what, options.version):
                print(path_of(migration.name).relative_to(sql.root.parent))
        case _:
            release()
    return 0


if __name__ == "__main__":
    sys.exit(main())
