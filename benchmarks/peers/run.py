"""One run: sides are installed at their first case, take turns, and are counted."""

from __future__ import annotations

import contextlib
import datetime
import subprocess
import time
from typing import TYPE_CHECKING

import attrs

from benchmarks import figures
from benchmarks import server as servers
from benchmarks.peers import environments, places
from benchmarks.peers.counting import MiscountError
from benchmarks.peers.places import SideError, Site
from benchmarks.peers.results import Outcome, Result
from benchmarks.peers.sides import SIDES

if TYPE_CHECKING:
    from collections.abc import Generator

    from benchmarks.options import Options
    from benchmarks.peers.cases import Case, Entry
    from benchmarks.peers.measures import Turn

FACTS = ("server", "settings", "machine")  # where a server was found is nobody's business


def revision() -> str:
    """The commit that is measured, with a + if files differ from it."""
    git = ["git", "-C", str(environments.CHECKOUT), "describe", "--always", "--dirty=+"]
    try:
        done = subprocess.run([*git, "--exclude=*"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


@attrs.define(kw_only=True)
class Run:
    """``stack`` keeps what sides have installed until the run ends."""

    server: servers.Server
    options: Options
    report: figures.Report
    stack: contextlib.ExitStack
    _sites: dict[str, Site] = attrs.field(init=False, factory=dict[str, Site])
    _absent: dict[str, Exception] = attrs.field(init=False, factory=dict[str, Exception])

    def site(self, key: str) -> Site:
        """Install a side once; what was missing once is missing for the whole run."""
        if key in self._absent:
            raise self._absent[key]
        if key not in self._sites:
            try:
                opened = places.opened(self.server, SIDES[key])
                self._sites[key] = self.stack.enter_context(opened)
            except (environments.MissingError, SideError) as error:
                self._absent[key] = error
                self.report.say(f"{SIDES[key].title}: {error}")
                raise
        return self._sites[key]

    def case(self, case: Case) -> Result:
        outcomes = {entry.key: Outcome() for entry in case.entries}
        with contextlib.ExitStack() as stack:
            turns: dict[str, Turn] = {}
            for entry in case.entries:
                with self._marked(entry, outcomes[entry.key]):
                    site = self.site(entry.side)
                    turns[entry.key] = stack.enter_context(
                        entry.measure.prepared(site, self.options.scale)
                    )
            for number in range(self.options.rounds):
                self._round(case, number, turns, outcomes)
        return Result(
            case=case.key,
            when=datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"),
            revision=revision(),
            facts={k: v for k, v in self.report.facts.items() if k in FACTS},
            versions={
                entry.side: self._sites[entry.side].version
                for entry in case.entries
                if entry.side in self._sites
            },
            rounds=self.options.rounds,
            outcomes=outcomes,
        )

    def _round(
        self, case: Case, number: int, turns: dict[str, Turn], outcomes: dict[str, Outcome]
    ) -> None:
        first = number % len(case.entries)  # nobody always follows the same neighbour's mess
        for entry in (*case.entries[first:], *case.entries[:first]):
            outcome = outcomes[entry.key]
            if outcome.failed or outcome.missing:
                continue
            started = time.monotonic()
            with self._marked(entry, outcome):
                found = turns[entry.key](self.options.scaled(entry.jobs))
                outcome.add(found)
                values = ", ".join(f"{k} {figures.number(v)}" for k, v in found.items())
                took = time.monotonic() - started
                self.report.say(f"round {number + 1}, {entry.key}: {values} ({took:.0f} s)")

    @contextlib.contextmanager
    def _marked(self, entry: Entry, outcome: Outcome) -> Generator[None]:
        """A side that fails is marked, and the others go on."""
        try:
            yield
        except environments.MissingError as error:
            outcome.missing = str(error)
        except (SideError, MiscountError) as error:
            outcome.failed = str(error)
            self.report.say(f"{entry.key} FAILED: {error}")
