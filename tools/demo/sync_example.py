"""A synchronous program that defers a job."""

import os

import procrastinate

app = procrastinate.App(
    connector=procrastinate.SyncPsycopgConnector(conninfo=os.environ["DATABASE_URL"])
)


@app.task(name="add", queue="sums")
def add(a: int, b: int) -> None:
    print(f"{a} + {b} = {a + b}")


def main() -> None:
    with app.open():
        job_id = add.defer(a=3, b=5)
        print(f"deferred job {job_id}")
    app.run_worker(queues=["sums"], wait=False)
