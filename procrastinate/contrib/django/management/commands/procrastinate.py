"""``manage.py procrastinate``: the command line, on the project's app."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.core.management import base

from procrastinate import cli, loops
from procrastinate.cli import entry
from procrastinate.contrib.django import django_connector, healthchecks, procrastinate_app

if TYPE_CHECKING:
    import argparse

app = procrastinate_app.app

# What Django adds to the options of every command.
_OF_DJANGO = frozenset(
    {
        "force_color",
        "no_color",
        "pythonpath",
        "settings",
        "skip_checks",
        "stderr",
        "stdout",
        "traceback",
        "verbosity",
    }
)


class Command(base.BaseCommand):
    """The command."""

    help = "Access procrastinate commands"
    suppressed_base_arguments = {"--version", "-v"}

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the commands of the command line, and what they take."""
        cli.add_arguments(
            parser,
            include_app=False,
            include_schema=False,
            custom_healthchecks=sync_to_async(healthchecks.healthchecks),
        )

    def handle(self, *args: Any, **kwargs: Any) -> None:
        """Run one command, on a connector that a worker can use."""
        options = {name: value for name, value in kwargs.items() if name not in _OF_DJANGO}
        connector = app.connector
        # A project's test may have replaced it: then that one is meant.
        if isinstance(connector, django_connector.DjangoConnector):
            connector = connector.get_worker_connector()
        try:
            with app.replace_connector(connector) as worker_app:
                loops.run(cli.execute_command({**options, "app": worker_app}))
        except base.CommandError:
            raise
        except Exception as exc:
            raise base.CommandError(entry.error_message(exc)) from exc
