"""The memory connector is what PostgreSQL is, whatever is asked of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import hypothesis
import pytest
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from procrastinate import SyncPsycopgConnector
from tests.python.models import options_machine

if TYPE_CHECKING:
    from collections.abc import Iterator

#: More of them find what these miss: MODEL_EXAMPLES=2000 takes a quarter of an hour.
EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "60"))


@pytest.fixture
def database(dsn: str) -> Iterator[SyncPsycopgConnector]:
    """A database that is reached by one connection: the clock is a setting of it."""
    connector = SyncPsycopgConnector(conninfo=dsn, min_size=1, max_size=1)
    connector.open()
    yield connector
    connector.close()


def run(machine: type[RuleBasedStateMachine], examples: int) -> None:
    settings = hypothesis.settings(
        max_examples=examples,
        stateful_step_count=40,
        deadline=None,
        report_multiple_bugs=False,
        derandomize="MODEL_EXAMPLES" not in os.environ,
        database=None,
        suppress_health_check=[
            hypothesis.HealthCheck.too_slow,
            hypothesis.HealthCheck.filter_too_much,
            hypothesis.HealthCheck.data_too_large,
        ],
    )
    run_state_machine_as_test(machine, settings=settings)


def test_the_memory_connector_and_postgresql_agree_after_each_command(
    database: SyncPsycopgConnector,
) -> None:
    run(options_machine.run_on(database), EXAMPLES)


def test_they_agree_on_all_that_jobs_ask_for(database: SyncPsycopgConnector) -> None:
    run(options_machine.run_options_on(database), EXAMPLES // 2)
