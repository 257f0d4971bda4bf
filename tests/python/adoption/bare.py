"""A client of 3.x in any language: a connection, and one statement."""

from __future__ import annotations

import threading
from typing import Self

import psycopg


class Bare:
    """A program that has its one statement prepared, and sends it again and again."""

    def __init__(self, dsn: str) -> None:
        self.connection = psycopg.connect(dsn, autocommit=True)
        ids = self.connection.execute("select * from procrastinate_register_worker_v1()")
        (self.worker_id,) = ids.fetchall()[0]
        self.errors: list[psycopg.Error] = []
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def fetch(self) -> list[tuple[object, ...]]:
        whole = b"select * from procrastinate_fetch_job_v2(array['none']::varchar[], %s)"
        return self.connection.execute(whole, [self.worker_id], prepare=True).fetchall()

    def run(self) -> None:
        nothing = self.fetch()
        try:
            while not self.stopped.is_set():
                assert self.fetch() == nothing
            assert self.fetch() == nothing
        except psycopg.Error as error:
            self.errors.append(error)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self.thread.join()
        self.connection.close()
