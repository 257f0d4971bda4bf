"""
The project in this process, for most tests, and in one of its own for those that vary it.

Django is configured once a process, when these tests are collected; its database is made when
the first of them runs.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import django
import pytest
from asgiref.sync import SyncToAsync
from django import conf, db, test
from django.core import management

from tests.python.django.project import settings as project_settings

ROOT = pathlib.Path(__file__).parents[3]

# Not by DJANGO_SETTINGS_MODULE: that also sets this process's timezone.
if not conf.settings.configured:
    conf.settings.configure(
        **{
            name: getattr(project_settings, name)
            for name in dir(project_settings)
            if name.isupper()
        }
    )
    django.setup()

Manage = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def shop_dsn(server: Any, make_database: Callable[..., Any]) -> Iterator[str]:
    """The connection string of the project's database, migrated by Django."""
    name = f"procrastinate_django_{os.getpid()}"
    with make_database(name):
        dsn: str = server.database(name)
        db.connections.settings["default"].update(project_settings.database(dsn))
        management.call_command("migrate", verbosity=0)
        yield dsn
        close_connections()


def close_connections() -> None:
    """Close Django's connections of this thread, and of the one of async code."""
    db.connections.close_all()
    SyncToAsync.single_thread_executor.submit(db.connections.close_all).result()


@pytest.fixture
def shop(shop_dsn: str) -> Iterator[str]:
    """The connection string of the project's database, with no jobs or orders in it."""
    yield shop_dsn
    db.connections.close_all()
    with db.connection.cursor() as cursor:
        cursor.execute(
            "truncate procrastinate_jobs, procrastinate_events, procrastinate_workers, "
            "procrastinate_periodic_defers, shop_order, django_admin_log, auth_user, "
            "django_session restart identity cascade"
        )
        cursor.execute("select * from procrastinate_check()")
        assert cursor.fetchall() == []
    close_connections()


@pytest.fixture
def manage() -> Manage:
    """Run ``manage.py`` of the project, in a process of its own."""

    def run(
        dsn: str, *arguments: str, settings: dict[str, Any] | None = None, code: int = 0
    ) -> subprocess.CompletedProcess[str]:
        return run_python(dsn, "-m", "django", *arguments, settings=settings, code=code)

    return run


def run_python(
    dsn: str, *arguments: str, settings: dict[str, Any] | None = None, code: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run Python with the project's settings, some of them changed."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PG", "PROCRASTINATE_", "DJANGO_"))
    }
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning", *arguments],
        env={
            **inherited,
            "DJANGO_SETTINGS_MODULE": "tests.python.django.project.settings",
            "PYTHONIOENCODING": "utf-8",
            "SHOP_DSN": dsn,
            "SHOP_SETTINGS": json.dumps(settings or {}),
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


@pytest.fixture
def client() -> test.Client:
    """Somebody with a browser."""
    return test.Client()


@pytest.fixture
def async_client() -> test.AsyncClient:
    """Somebody with a browser, and a server that speaks ASGI."""
    return test.AsyncClient()
