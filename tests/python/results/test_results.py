"""What a task returns is kept for whoever asks for it, and what can't be kept is said."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from procrastinate import App, JobContext, PsycopgConnector, exceptions
from procrastinate.worker import claim, records

from .conftest import Work, drain, numbers

if TYPE_CHECKING:
    import psycopg

    from procrastinate.job_options import RunOptions


async def test_the_value_that_a_task_returned_is_what_its_result_is(app: App) -> None:
    @app.task(store_result=True)
    async def add(a: int, b: int) -> dict[str, int]:
        return {"sum": a + b}

    job_id = await add.defer_async(a=1, b=2)

    await drain(app)

    assert await app.job_manager.get_result_async(job_id) == {"sum": 3}
    report = await app.job_manager.get_report_async(job_id)
    assert (report.status, report.attempts, report.error) == ("succeeded", 1, None)


async def test_nothing_is_a_value_like_others(app: App) -> None:
    @app.task(ttl=60)
    def nothing() -> None: ...

    job_id = await nothing.defer_async()

    await drain(app)

    assert await app.job_manager.get_result_async(job_id) is None


@pytest.mark.parametrize("options", [{}, {"ttl": -1}, {"store_result": False}], ids=repr)
async def test_a_result_that_nobody_wanted_is_not_stored(app: App, options: RunOptions) -> None:
    @app.task(**options)
    async def task() -> int:
        return 1

    job_id = await task.defer_async()

    await drain(app)

    with pytest.raises(exceptions.ResultNotStored, match=f"Job {job_id} .*store_result=True"):
        await app.job_manager.get_result_async(job_id)


async def test_a_job_that_has_not_ended_has_no_result_yet(app: App) -> None:
    @app.task(ttl=60)
    async def task() -> int:
        return 1

    job_id = await task.defer_async()

    with pytest.raises(exceptions.ResultNotReady, match="it is todo"):
        await app.job_manager.get_result_async(job_id)


async def test_a_job_that_is_not_there_has_no_result(app: App) -> None:
    with pytest.raises(exceptions.JobNotFound, match="no job 4711"):
        await app.job_manager.get_result_async(4711)
    with pytest.raises(exceptions.JobNotFound, match="no job 4711"):
        await app.wait_for([4711], timeout=5)


async def test_an_error_has_the_traceback_of_the_worker(app: App) -> None:
    @app.task(ttl=60, max_attempts=2)
    async def task() -> int:
        raise ValueError("not today")

    job_id = await task.defer_async()

    await drain(app)

    with pytest.raises(exceptions.JobFailed, match="ValueError: not today") as raised:
        await app.job_manager.get_result_async(job_id)
    assert type(raised.value) is exceptions.JobFailed
    error = raised.value.error
    assert error is not None
    assert (error.cls, error.message, error.attempt) == ("builtins.ValueError", "not today", 2)
    (note,) = raised.value.__notes__
    assert 'raise ValueError("not today")' in note


async def test_a_failure_without_a_ttl_says_where_its_errors_are(app: App) -> None:
    @app.task(retry=1)
    async def task() -> None:
        raise ValueError("not today")

    job_id = await task.defer_async()
    await drain(app)

    with pytest.raises(exceptions.JobFailed, match=f"Job {job_id} failed after 2 attempts"):
        await app.job_manager.get_result_async(job_id)


async def test_a_job_that_was_cancelled_says_so(app: App) -> None:
    @app.task(ttl=60)
    async def task() -> int:
        return 1

    job_id = await task.defer_async()
    await app.job_manager.cancel_job_by_id_async(job_id)

    with pytest.raises(exceptions.JobFailed, match=f"Job {job_id} was cancelled"):
        await app.handle(job_id).result(timeout=10)


class Strange:
    """What JSON has no word for."""


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


UNSTORABLE: list[tuple[Any, str]] = [
    (Strange(), "not JSON serializable"),
    ("a\x00b", "NUL"),
    (float("nan"), "not JSON compliant"),
    ({"deep": "\ud800"}, "surrogates not allowed"),
    (nested(100_000), "recursion"),
]


@pytest.mark.parametrize(("value", "words"), UNSTORABLE, ids=[words for _, words in UNSTORABLE])
async def test_what_json_can_not_hold_fails_its_job_and_no_other(
    app: App, value: Any, words: str
) -> None:
    @app.task(name="t", ttl=60, max_attempts=3)
    async def task(well: bool) -> Any:
        return "fine" if well else value

    good, bad = await task.batch_defer_async({"well": True}, {"well": False})

    await drain(app, concurrency=2)

    assert await app.job_manager.get_result_async(good) == "fine"
    with pytest.raises(exceptions.JobFailed, match=f"What job t.{bad}.*store_result=False"):
        await app.job_manager.get_result_async(bad)
    report = await app.job_manager.get_report_async(bad)
    assert report.error is not None
    assert words in report.error.message
    assert report.attempts == 1  # to run it once more would be no use


@pytest.mark.parametrize("text", ["\\u0000", "😀", "\u2028", "ä\\\\u0000"])
async def test_what_only_looks_like_trouble_is_stored(app: App, text: str) -> None:
    @app.task(ttl=60)
    async def task() -> str:
        return text

    job_id = await task.defer_async()

    await drain(app)

    assert await app.job_manager.get_result_async(job_id) == text


async def test_a_result_that_is_too_large_fails_its_job_and_the_worker_says_so(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    @app.task(ttl=60)
    async def task(size: int) -> list[int]:
        return list(range(size))

    small, large = await task.batch_defer_async({"size": 3}, {"size": 300_000})

    await drain(app, concurrency=2)

    assert await app.job_manager.get_result_async(small) == [0, 1, 2]
    with pytest.raises(exceptions.JobFailed, match="ResultTooLarge"):
        await app.job_manager.get_result_async(large)
    (refusal,) = (r for r in caplog.records if r.levelname == "ERROR")
    assert refusal.__dict__["action"] == "result_refused"
    assert refusal.__dict__["job"]["id"] == large
    assert refusal.getMessage().startswith(
        f"The result of job {refusal.__dict__['job']['task_name']}[{large}](...) is larger than "
        "the database allows"
    )


async def test_a_result_that_is_too_large_for_any_statement_is_not_sent(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "MOST_OF_RESULT", 10)

    @app.task(ttl=60)
    async def task(size: int) -> str:
        return "x" * size

    fits, large = await task.batch_defer_async({"size": 8}, {"size": 9})
    await drain(app, concurrency=2)

    assert await app.job_manager.get_result_async(fits) == "x" * 8
    with pytest.raises(exceptions.JobFailed, match="is 11 characters of JSON: too much"):
        await app.job_manager.get_result_async(large)


async def test_text_that_a_user_s_own_json_leaves_unescaped_has_to_have_an_encoding(
    dsn: str,
) -> None:
    def dumps(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False)

    app = App(connector=PsycopgConnector(conninfo=dsn, json_dumps=dumps))

    @app.task(ttl=60)
    async def task(code: int) -> str:
        return chr(code)

    async with app.open_async():
        umlaut, half = await task.batch_defer_async({"code": 0xE4}, {"code": 0xD800})
        await drain(app, concurrency=2)
        assert await app.job_manager.get_result_async(umlaut) == "\xe4"
        with pytest.raises(exceptions.JobFailed, match="surrogates not allowed"):
            await app.job_manager.get_result_async(half)


async def test_a_user_s_own_json_is_used_once_and_trusted_in_nothing(dsn: str) -> None:
    written: list[Any] = []

    def dumps(value: Any) -> str:
        written.append(value)
        return json.dumps(value, default=str)

    app = App(connector=PsycopgConnector(conninfo=dsn, json_dumps=dumps))

    @app.task(ttl=60)
    async def task(value: str) -> Any:
        return {"own": Strange, "nan": float("nan")}[value]

    async with app.open_async():
        own, nan = await task.batch_defer_async({"value": "own"}, {"value": "nan"})
        written.clear()
        await drain(app, concurrency=2)
        assert "Strange" in await app.job_manager.get_result_async(own)
        with pytest.raises(exceptions.JobFailed, match="NaN is no number in JSON"):
            await app.job_manager.get_result_async(nan)
    assert written.count(Strange) == 1


async def test_what_only_the_database_refuses_fails_its_job_and_no_other(dsn: str) -> None:
    def dumps(value: Any) -> str:
        return "1e200000" if value == "too big a number" else json.dumps(value)

    app = App(connector=PsycopgConnector(conninfo=dsn, json_dumps=dumps))
    together = asyncio.Barrier(3)

    @app.task(ttl=60)
    async def task(value: str) -> str:
        await together.wait()
        return value

    async with app.open_async():
        ids = await task.batch_defer_async(
            {"value": "a"}, {"value": "too big a number"}, {"value": "b"}
        )
        await drain(app, concurrency=3)
        first, refused, last = await app.wait_for(ids, timeout=10)
    assert (first.result, last.result) == ("a", "b")
    assert (refused.status, refused.result) == ("failed", None)
    assert refused.error is not None
    assert "What the job left could not be stored" in refused.error.message


async def test_results_that_are_too_much_for_one_statement_go_in_several(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "MOST_TEXT", 1000)
    together = asyncio.Barrier(20)

    @app.task(ttl=60)
    async def task(n: int) -> str:
        await together.wait()
        return str(n) * 150

    ids = await task.batch_defer_async(*numbers(20))

    await drain(app, concurrency=20)

    reports = await app.wait_for(ids, timeout=10)
    assert [report.result for report in reports] == [str(n) * 150 for n in range(20)]


async def test_a_result_can_outlive_its_job(app: App) -> None:
    @app.task(ttl=60)
    async def task() -> int:
        return 1

    kept = await task.configure(keep_result=True).defer_async()
    gone = await task.defer_async()

    await drain(app, delete_jobs="always")

    assert await app.job_manager.get_result_async(kept) == 1
    assert await app.handle(kept).result(timeout=5) == 1
    with pytest.raises(exceptions.JobNotFound, match="keep_result=True"):
        await app.job_manager.get_result_async(gone)


async def test_a_result_whose_time_is_over_has_expired(
    database_app: App, conn: psycopg.Connection
) -> None:
    @database_app.task(ttl=60)
    async def task() -> int:
        return 1

    job_id = await task.defer_async()
    await drain(database_app)
    conn.execute("update procrastinate_results set expires_at = expires_at - interval '1 hour'")

    with pytest.raises(exceptions.ResultExpired, match="its ttl is over"):
        await database_app.job_manager.get_result_async(job_id)


async def test_sync_code_gets_what_async_code_gets(app: App, work: Work) -> None:
    @app.task(ttl=60, pass_context=True)
    def double(context: JobContext, n: int) -> int:
        context.update(progress=1, meta={"n": n})
        return 2 * n

    await work(app, concurrency=2)

    assert await asyncio.to_thread(double.defer_and_wait, n=4) == 8
    assert await asyncio.to_thread(double.map, [{"n": 1}, {"n": 2}]) == [2, 4]
    job_id = await double.defer_async(n=5)
    (report,) = await asyncio.to_thread(app.job_manager.wait_for, [job_id], 10)
    assert (report.status, report.progress, report.meta) == ("succeeded", 1.0, {"n": 5})
    assert await asyncio.to_thread(app.job_manager.get_result, job_id) == 10
