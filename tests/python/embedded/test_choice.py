"""Which server is meant, when several could be."""

from __future__ import annotations

from typing import cast

import pytest

from procrastinate.contrib.embedded import EmbeddedServer, Origin, choose_server


class Server:
    """Stands in for an embedded one: how those start is test_server's subject."""

    entered = False

    def __enter__(self) -> Server:
        self.entered = True
        return self

    def __exit__(self, *_: object) -> None:
        self.entered = False

    def dsn(self) -> str:
        return "postgresql://postgres@/postgres?host=/somewhere"


@pytest.mark.parametrize(
    ("dsn", "environ", "libpq", "origin"),
    [
        ("host=a", {"PROCRASTINATE_DSN": "host=b", "PGHOST": "c"}, True, Origin.ARGUMENT),
        (None, {"PROCRASTINATE_DSN": "host=b", "PGHOST": "c"}, True, Origin.VARIABLE),
        (None, {"PGHOST": "c"}, True, Origin.LIBPQ),
        (None, {"PGSERVICE": "c"}, True, Origin.LIBPQ),
        (None, {"PGHOST": "c"}, False, Origin.EMBEDDED),
        (None, {"PROCRASTINATE_DSN": "", "PGHOST": ""}, True, Origin.EMBEDDED),
        (None, {}, True, Origin.EMBEDDED),
    ],
)
def test_the_nearest_word_wins(
    dsn: str | None, environ: dict[str, str], libpq: bool, origin: Origin
) -> None:
    embedded = Server()
    with choose_server(
        dsn, libpq=libpq, environ=environ, embedded=cast(EmbeddedServer, embedded)
    ) as chosen:
        assert chosen.origin is origin
        assert embedded.entered is (origin is Origin.EMBEDDED)
    assert not embedded.entered


def test_a_chosen_server_is_shown_without_its_password() -> None:
    given = "postgresql://me:secret@here:6543/jobs?sslpassword=hidden"
    with choose_server(environ={"PROCRASTINATE_DSN": given}) as chosen:
        assert chosen.dsn == given
        assert str(chosen) == "PROCRASTINATE_DSN: user=me dbname=jobs host=here port=6543"
        assert "secret" not in repr(chosen)
