"""
Asks the tests of the Python what they hold: breaks a function in one place, sees who notices.

    python -m tools.mutate_python procrastinate/rpc procrastinate/worker/claim.py
    python -m tools.mutate_python --again       # only what survived so far, after new tests
    python -m tools.mutate_python --every 5     # a sample: each fifth mutant of a module
    python -m tools.mutate_python --named _Lane._fail  # only in this function
    python -m tools.mutate_python --tests tests/python/worker  # whom to ask
    python -m tools.mutate_python --report      # what is known so far

The tests run once in one warm process, where coverage notes which of them come to a line. Then
the process forks for each mutant of `tools.python_mutants`: the child puts the mutant's code into
the functions that live there, and runs the tests that come to the line until one fails: first
those that noticed other mutants of the run. A child whose test takes far longer than any of them
did, loops: that is noticed too, as is one that dies.

What runs in another process (the command line as a program) never sees a mutant. What was found
is kept in .cache/python_mutants.jsonl; a mutant that stands there is not tried again unless its
function has changed.
"""

from __future__ import annotations

import argparse
import collections
import functools
import gc
import json
import os
import pathlib
import resource
import select
import signal
import sys
import time
import types
from typing import TYPE_CHECKING, TextIO, cast

import attrs
import coverage
import psycopg
import pytest
from _pytest import runner
from psycopg import sql

from procrastinate.contrib.embedded import EmbeddedServer
from tools import python_mutants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

ROOT = pathlib.Path(__file__).parent.parent
KEPT = ROOT / ".cache" / "python_mutants.jsonl"
DEFAULT = ("procrastinate/rpc", "procrastinate/worker")
TESTS = tuple(
    f"tests/python/{room}"
    for room in ("app", "connectors", "manager", "models", "rpc", "tasks", "testing", "worker")
)
MEMORY = 4 << 30  # bytes that a child may take: a mutant may collect for ever

CACHED = type(functools.cache(lambda: None))  # functools has no public name for it

STILLBORN, SURVIVED, UNREACHED = "stillborn", "survived", "unreached"
LOOPED, DIED = "took too long", "died"
GOES_ON = "."  # after a test; in between, so that a child is not taken for one that loops


@attrs.frozen
class Verdict:
    """What became of a mutant: `by` is the test that noticed, or one of the words above."""

    file: str
    line: int
    what: str
    text: str  # what the function says then, to know it again
    by: str


@attrs.define
class Records:
    """What is known, in a file; the last word counts."""

    path: pathlib.Path = KEPT
    out: TextIO = sys.stdout

    def known(self) -> dict[tuple[str, str], Verdict]:
        if not self.path.exists():
            return {}
        verdicts = [Verdict(**json.loads(line)) for line in self.path.read_text().splitlines()]
        return {(verdict.file, verdict.text): verdict for verdict in verdicts}

    def keep(self, verdict: Verdict) -> None:
        self.path.parent.mkdir(exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(attrs.asdict(verdict)) + "\n")
        if verdict.by in {SURVIVED, UNREACHED}:
            said = f"{verdict.file}:{verdict.line}: {verdict.what} ({verdict.by})"
            print(said, file=self.out, flush=True)


class Between:
    """Stands for the next test where nothing but the session is to stay set up."""

    def __init__(self, session: pytest.Session) -> None:
        self._session = session

    def listchain(self) -> list[pytest.Session]:
        return [self._session]


@attrs.define
class Witness:
    """A test that passes, and how long it takes."""

    item: pytest.Item
    seconds: float


def passes(item: pytest.Item) -> bool:
    between = cast("pytest.Item", Between(item.session))
    reports = runner.runtestprotocol(item, log=False, nextitem=between)
    return not any(report.failed for report in reports)


def living(path: pathlib.Path) -> dict[str, list[types.FunctionType]]:
    """The functions of a module that live in this process, by their qualified names."""
    found: dict[str, list[types.FunctionType]] = collections.defaultdict(list)
    for thing in gc.get_objects():
        if isinstance(thing, types.FunctionType) and thing.__code__.co_filename == str(path):
            found[thing.__code__.co_qualname].append(thing)
    return found


def forget(path: pathlib.Path) -> None:
    """Forget what the functions of a module have cached: it was made by unbroken ones."""
    for thing in gc.get_objects():
        if isinstance(thing, CACHED):
            code = getattr(thing.__wrapped__, "__code__", None)
            if code is not None and code.co_filename == str(path):
                thing.cache_clear()


def put(mutant: python_mutants.Mutant, path: pathlib.Path) -> bool:
    """Put a mutant's code in place of what its function says; False if that can't be."""
    try:
        code = mutant.code(str(path))
        functions = living(path)[mutant.name]
        for function in functions:
            function.__code__ = code
        forget(path)
    except (SyntaxError, ValueError):  # a variable is not bound any more, or not closed over
        return False
    return bool(functions)


def forked(task: Callable[[Callable[[str], None]], None], seconds: float) -> str:
    """
    Run a task in a child of this process; the last word that it says, or what became of it.

    It may be silent for so many seconds. Meanwhile it says `GOES_ON`.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            os.close(reading)
            resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
            task(lambda word: cast("None", os.write(writing, word.encode())))
        except BaseException as error:  # the parent is told, and nobody else is left
            os.write(writing, f"{DIED}: {error!r}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    try:
        word = ""
        while not word:
            ready, _, _ = select.select([reading], [], [], seconds)
            if not ready:
                return LOOPED
            said = os.read(reading, 10_000).decode()
            if not said:
                return DIED
            word = said.lstrip(GOES_ON)
        return word
    finally:
        os.close(reading)
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)


@attrs.define
class Experiment:
    """A plugin of pytest that runs the tests many times instead of once."""

    files: list[pathlib.Path]
    every: int
    named: list[str]
    again: bool
    most: float
    records: Records
    witnesses: dict[str, Witness] = attrs.field(factory=dict[str, Witness])
    coming: dict[tuple[str, int], set[str]] = attrs.field(factory=dict)
    seen: collections.Counter[tuple[str, str]] = attrs.field(
        factory=collections.Counter[tuple[str, str]]
    )
    noticed: collections.Counter[str] = attrs.field(factory=collections.Counter[str])

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.observe(session.items)
        for file in self.files:
            self.try_file(file)
        return True

    def say(self, text: str) -> None:
        print(text, file=self.records.out, flush=True)

    def observe(self, items: Iterable[pytest.Item]) -> None:
        """Run all tests once."""
        measured = coverage.Coverage(
            data_file=None, config_file=False, include=[str(file) for file in self.files]
        )
        measured.start()
        for item in items:
            measured.switch_context(item.nodeid)
            begun = time.monotonic()
            if passes(item):
                self.witnesses[item.nodeid] = Witness(item, time.monotonic() - begun)
            else:
                self.say(f"not asked, for it fails as it is: {item.nodeid}")
        measured.stop()
        data = measured.get_data()
        for file in self.files:
            for line, names in data.contexts_by_lineno(str(file)).items():
                self.coming[str(file), line] = set(names) & self.witnesses.keys()
                self.seen.update((str(file), name) for name in names)
        seconds = sum(witness.seconds for witness in self.witnesses.values())
        self.say(f"{len(self.witnesses)} tests pass in {seconds:.0f} s")

    def asked(self, file: pathlib.Path, lines: range) -> list[Witness]:
        """
        The tests that come to the lines, as many as there is time for.

        Chosen are those that see most of the file in their time: to the first lines of a worker
        come all. Those that noticed most in their time come first.
        """
        names = {name for line in lines for name in self.coming.get((str(file), line), ())}
        found = [self.witnesses[name] for name in names]
        found.sort(key=lambda one: one.seconds / self.seen[str(file), one.item.nodeid])
        left = self.most
        chosen: list[Witness] = []
        for witness in found:
            left -= witness.seconds
            if left < 0 and chosen:
                break
            chosen.append(witness)
        return sorted(chosen, key=lambda one: -self.noticed[one.item.nodeid] / one.seconds)

    def try_file(self, file: pathlib.Path) -> None:
        name = str(file.relative_to(ROOT))
        known = self.records.known()
        begun = time.monotonic()
        count = 0
        # What survived before may stand at another place in the module now.
        every = 1 if self.again else self.every
        for mutant in list(python_mutants.mutants(file.read_text()))[::every]:
            old = known.get((name, mutant.text))
            survived = old is not None and old.by in {SURVIVED, UNREACHED}
            if not survived if self.again else old is not None:
                continue
            if self.named and mutant.name not in self.named:
                continue
            count += 1
            by = self.judge(mutant, file)
            self.records.keep(Verdict(name, mutant.lines[0], mutant.what, mutant.text, by))
        if count:
            self.say(f"{name}: {count} mutants in {time.monotonic() - begun:.0f} s")

    def judge(self, mutant: python_mutants.Mutant, file: pathlib.Path) -> str:
        witnesses = self.asked(file, mutant.lines)
        if not witnesses:
            return UNREACHED

        def ask(say: Callable[[str], None]) -> None:
            if not put(mutant, file):
                say(STILLBORN)
                return
            for witness in witnesses:
                if not passes(witness.item):
                    say(witness.item.nodeid)
                    return
                say(GOES_ON)
            say(SURVIVED)

        by = forked(ask, 5 + 5 * max(witness.seconds for witness in witnesses))
        if by.startswith((LOOPED, DIED)):
            drop_left_over()
        self.noticed[by] += 1
        return by


def drop_left_over() -> None:
    """A child that was stopped left its databases behind; the next one makes them anew."""
    from tests import conftest  # noqa: PLC0415  # pytest has imported it by now

    dsn = os.environ["PROCRASTINATE_DSN"]
    with psycopg.connect(dsn, autocommit=True) as connection:
        for suffix in ("own", "empty"):
            name = sql.Identifier(f"{conftest.TEMPLATE}_{suffix}")
            connection.execute(sql.SQL("drop database if exists {} with (force)").format(name))


def files_of(paths: Iterable[str]) -> Iterator[pathlib.Path]:
    for path in paths:
        place = ROOT / path
        yield from sorted(place.rglob("*.py")) if place.is_dir() else [place]


def report(files: Iterable[pathlib.Path], records: Records) -> None:
    """A line a module, and the survivors."""
    known = records.known()
    total: collections.Counter[str] = collections.Counter()
    left: list[Verdict] = []
    for file in files:
        name = str(file.relative_to(ROOT))
        texts = [mutant.text for mutant in python_mutants.mutants(file.read_text())]
        found = [known[name, text] for text in texts if (name, text) in known]
        if not found:
            continue
        words = {STILLBORN, SURVIVED, UNREACHED}
        of_file = collections.Counter(
            verdict.by if verdict.by in words else "noticed" for verdict in found
        )
        total += of_file
        left += [verdict for verdict in found if verdict.by in {SURVIVED, UNREACHED}]
        missing = len(texts) - len(found)
        print(f"{name}: {dict(of_file)}, {missing} not tried", file=records.out)
    for verdict in left:
        print(f"{verdict.file}:{verdict.line}: {verdict.what}", file=records.out)
    print(dict(total), file=records.out)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.mutate_python", description=__doc__)
    parser.add_argument("paths", nargs="*", default=DEFAULT)
    parser.add_argument("--again", action="store_true", help="only those that survived")
    parser.add_argument("--named", nargs="+", default=[], help="only in these functions")
    parser.add_argument("--tests", nargs="+", default=TESTS, help="pytest paths, whom to ask")
    parser.add_argument("--every", type=int, default=1, help="a sample: each nth of a module")
    parser.add_argument("--most", type=float, default=60, help="seconds of tests a mutant")
    parser.add_argument("--report", action="store_true", help="print what is known")
    options = parser.parse_args()
    files = list(files_of(options.paths))
    records = Records(out=os.fdopen(os.dup(1), "w"))  # pytest takes the first for itself
    if options.report:
        report(files, records)
        return
    experiment = Experiment(
        files=files,
        every=options.every,
        named=options.named,
        again=options.again,
        most=options.most,
        records=records,
    )
    arguments = ["-q", "-p", "no:cacheprovider", *options.tests]
    with EmbeddedServer(durable=False, settings={"max_connections": "200"}) as server:
        os.environ["PROCRASTINATE_DSN"] = server.dsn()
        code = pytest.main(arguments, plugins=[experiment])
    raise SystemExit(code)


if __name__ == "__main__":
    main()
