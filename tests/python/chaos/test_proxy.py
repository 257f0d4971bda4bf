"""The network between the processes and the server breaks as it is told to."""

from __future__ import annotations

import contextlib
import os
import pathlib
import select
import socket
import tempfile
import threading
import time
from collections.abc import Generator, Iterator

import pytest

from tools.chaos.proxy import Proxy

PATIENCE = 20.0


@contextlib.contextmanager
def echo() -> Generator[str]:
    """A server on a Unix socket that says what it was told."""
    with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX) as server:
        path = str(pathlib.Path(directory) / "socket")
        server.bind(path)
        server.listen()

        def answer(conn: socket.socket) -> None:
            with conn, contextlib.suppress(OSError):
                while data := conn.recv(100):
                    conn.sendall(data)

        def serve() -> None:
            while True:
                try:
                    conn, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=(conn,), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield path
        server.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with echo() as path:
        proxy = Proxy(path)
        proxy.start()
        yield proxy
        proxy.close()


def connect(proxy: Proxy) -> socket.socket:
    conn = socket.create_connection(("127.0.0.1", proxy.port))
    conn.settimeout(PATIENCE)
    return conn


def says(conn: socket.socket, what: bytes) -> bytes:
    conn.sendall(what)
    return conn.recv(100)


def test_what_is_said_gets_there_and_back(proxy: Proxy) -> None:
    with connect(proxy) as one, connect(proxy) as other:
        assert (says(one, b"one"), says(other, b"other")) == (b"one", b"other")


def test_a_cut_resets_connections_and_new_ones_work(proxy: Proxy) -> None:
    with connect(proxy) as conn:
        says(conn, b"hello")
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            conn.recv(100)
    with connect(proxy) as conn:
        assert says(conn, b"again") == b"again"


def test_nobody_is_met_while_it_refuses(proxy: Proxy) -> None:
    port = proxy.port
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    proxy.accept()

    assert proxy.port == port
    with connect(proxy) as conn:
        assert says(conn, b"again") == b"again"


def test_a_deaf_connection_takes_all_and_says_nothing_while_new_ones_work(proxy: Proxy) -> None:
    with connect(proxy) as deaf:
        says(deaf, b"hello")
        proxy.deafen()
        deaf.sendall(b"anybody there?")
        with connect(proxy) as conn:
            assert says(conn, b"again") == b"again"
        proxy.forget()
        # neither an answer nor an end
        assert select.select([deaf], [], [], 0.1)[0] == []


def test_a_delay_holds_up_each_piece(proxy: Proxy) -> None:
    with connect(proxy) as conn:
        says(conn, b"hello")
        proxy.delay(0.1)
        began = time.monotonic()
        assert says(conn, b"slow") == b"slow"
        # there and back: it can't be quicker, however fast the machine
        assert time.monotonic() - began >= 0.2


def test_no_file_is_left_open(proxy: Proxy) -> None:
    def files() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    before = files()
    for _ in range(5):
        with connect(proxy) as conn:
            says(conn, b"hello")
    deadline = time.monotonic() + PATIENCE
    while files() > before:  # not announced
        assert time.monotonic() < deadline
        time.sleep(0.01)
