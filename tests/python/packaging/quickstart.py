"""The quickstart's app. The tests copy it away from the checkout."""

import os

import procrastinate

app = procrastinate.App(
    connector=procrastinate.PsycopgConnector(conninfo=os.environ["PROCRASTINATE_DSN"])
)


@app.task(queue="sums", name="quickstart.add")
def add(a: int, b: int) -> None:
    print(f"{a} + {b} = {a + b}")
