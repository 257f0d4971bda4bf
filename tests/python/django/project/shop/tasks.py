"""The tasks; autodiscovered."""

from __future__ import annotations

from django import db

from procrastinate.contrib.django import app
from tests.python.django.project.shop import models


@app.task
def send(order: str) -> str:
    """Write the order down."""
    models.Order.objects.create(name=order)
    return order


@app.task(queue="slow", lock="stock", queueing_lock="count")
async def count_stock() -> int:
    """Count the orders."""
    return await models.Order.objects.acount()


@app.task
def fail(reason: str) -> None:
    """Fail."""
    raise ValueError(reason)


@app.task
def lose_connection() -> None:
    """Leave a connection that is broken."""
    with db.connection.cursor() as cursor:
        cursor.execute("select pg_terminate_backend(pg_backend_pid())")
