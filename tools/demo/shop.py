"""An app for the command line, and for orders that SQL defers."""

import asyncio
import os

import procrastinate

app = procrastinate.App(
    connector=procrastinate.PsycopgConnector(conninfo=os.environ["DATABASE_URL"])
)


@app.task(name="greet", queue="hello")
async def greet(name: str) -> None:
    print(f"Hello, {name}!", flush=True)


@app.task(name="confirm_order", queue="orders")
async def confirm_order(order_id: int, amount: float) -> None:
    if amount < 0:
        raise ValueError(f"order {order_id} has a negative amount")


@app.task(name="audit", queue="audits")
async def audit(customer: str) -> None:
    await asyncio.sleep(3600)  # until somebody aborts it


@app.task(name="close_account", queue="audits")
async def close_account(customer: str) -> None:
    print(f"closed the account of {customer}", flush=True)
