"""The same, asynchronous: the program defers and works in one event loop."""

import asyncio
import os

import procrastinate

app = procrastinate.App(
    connector=procrastinate.PsycopgConnector(conninfo=os.environ["DATABASE_URL"])
)


done = asyncio.Event()


@app.task(name="add_later", queue="sums")
async def add_later(a: int, b: int) -> None:
    print(f"{a} + {b} = {a + b}, a second later")
    done.set()


async def main() -> None:
    async with app.open_async():
        await add_later.configure(schedule_in={"seconds": 1}).defer_async(a=20, b=22)
        print("deferred, for one second from now")
        worker = asyncio.create_task(app.run_worker_async(queues=["sums"]))
        await done.wait()
        worker.cancel()  # it lets the running job end
        await asyncio.wait([worker])
