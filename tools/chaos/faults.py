"""Each kind of fault: how it is made, how long it lasts, and how it is mended."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING

import psycopg

from tools.chaos import worker
from tools.chaos.server import ROLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tools.chaos.fleet import Fleet
    from tools.chaos.plan import Fault
    from tools.chaos.proxy import Proxy
    from tools.chaos.server import Server

BACKENDS = f"select pid from pg_stat_activity where usename = '{ROLE}' order by pid"  # noqa: S608


class Breaker:
    """Breaks what a fault says, and mends it before it returns."""

    def __init__(self, server: Server, proxy: Proxy, fleet: Fleet) -> None:
        self._server, self._proxy, self._fleet = server, proxy, fleet

    def carry_out(self, fault: Fault) -> None:
        make: Callable[[Fault], None] = getattr(self, f"_{fault.kind}")
        make(fault)

    def _kill_worker(self, fault: Fault) -> None:
        place = self._fleet.victim(fault)
        self._fleet.kill(place)
        self._fleet.replace(place)

    def _stop_worker(self, fault: Fault) -> None:
        stopped = self._fleet.workers[self._fleet.victim(fault)]
        stopped.send_signal(signal.SIGSTOP)
        try:
            # longer than a worker may be silent: others take its jobs
            time.sleep(worker.STALLED * (1.2 + 0.3 * fault.seconds))
        finally:
            stopped.send_signal(signal.SIGCONT)

    def _terminate_worker(self, fault: Fault) -> None:
        place = self._fleet.victim(fault)
        self._fleet.terminate(place)
        self._fleet.replace(place)

    def _clock_skew(self, fault: Fault) -> None:
        place = self._fleet.victim(fault)
        self._fleet.skews[place] = fault.sign * 3600 * (0.5 + fault.seconds)
        self._terminate_worker(fault)

    def _backends(self) -> list[int]:
        with self._server.connect() as conn:
            return [pid for (pid,) in conn.execute(BACKENDS).fetchall()]

    def _kill_backend(self, fault: Fault) -> None:
        # All others end too, and the postmaster recovers from its WAL.
        if pids := self._backends():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pids[fault.victim % len(pids)], signal.SIGKILL)

    def _terminate_backends(self, fault: Fault) -> None:
        pids = self._backends()
        chosen = pids if fault.sign > 0 else pids[fault.victim % 3 :: 3]
        with self._server.connect() as conn:
            conn.execute(
                "select pg_terminate_backend(p) from unnest(%s::int[]) as p", (chosen,)
            )

    def _kill_postmaster(self, fault: Fault) -> None:
        self._server.signal(signal.SIGKILL)
        time.sleep(0.5 * fault.seconds)
        self._server.start()

    def _stop_immediately(self, fault: Fault) -> None:
        self._server.signal(signal.SIGQUIT)  # what pg_ctl stop --mode=immediate sends
        time.sleep(0.5 * fault.seconds)
        self._server.start()

    def _cut(self, fault: Fault) -> None:
        self._proxy.reset(keep_every=0 if fault.sign > 0 else 3)

    def _refuse(self, fault: Fault) -> None:
        self._proxy.refuse()
        time.sleep(0.2 + fault.seconds)
        self._proxy.accept()

    def _delay(self, fault: Fault) -> None:
        self._proxy.delay(0.05 + 0.2 * fault.seconds)
        time.sleep(1.5)
        self._proxy.delay(0)

    def _half_open(self, fault: Fault) -> None:
        self._proxy.deafen()
        time.sleep(1 + fault.seconds)
        self._proxy.forget()

    def _hold_locks(self, fault: Fault) -> None:
        with self._server.connect() as conn, conn.transaction():
            if fault.sign > 0:
                conn.execute("lock table procrastinate_todo in exclusive mode")
            else:
                conn.execute(
                    "select from procrastinate_jobs where id > (select max(id) - 500"
                    " from procrastinate_jobs) order by id for update"
                )
            time.sleep(0.5 + fault.seconds)

    def _statement_timeout(self, fault: Fault) -> None:
        """Sessions that give up soon, while somebody holds what they need."""
        setting = "statement_timeout" if fault.sign > 0 else "lock_timeout"
        with self._server.connect() as conn:
            conn.execute(f"alter role {ROLE} set {setting} = '100ms'".encode())
        try:
            self._proxy.reset()
            self._hold_locks(fault)
        finally:
            with self._server.connect() as conn:
                conn.execute(f"alter role {ROLE} reset {setting}".encode())
            self._proxy.reset()

    def _disk_full(self, fault: Fault) -> None:
        self._server.disk.fill()
        try:
            # As soon as the WAL needs another file the server panics, and can't recover.
            deadline = time.monotonic() + 1 + fault.seconds
            with contextlib.suppress(psycopg.Error), self._server.connect() as conn:
                conn.execute("select pg_switch_wal()")
            while time.monotonic() < deadline and self._server.answers():
                time.sleep(0.1)
        finally:
            self._server.disk.free()
