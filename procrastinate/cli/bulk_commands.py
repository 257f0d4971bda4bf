"""
The commands ``retry`` and ``cancel``: one verb for many jobs.

What became of them goes to stdout, a line for each outcome; which jobs were left, and why, to
stderr.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from procrastinate import bulk, utils
from procrastinate.cli import commands, progress

if TYPE_CHECKING:
    import argparse
    import datetime
    from collections.abc import Awaitable, Callable, Mapping

    from procrastinate import app as app_module
    from procrastinate import types

#: Jobs that were left are named one by one up to so many.
NAMED = 20

REASONS = {
    "queueing_lock_taken": "a waiting job has its queueing lock",
    "busy": "another transaction is changing it: try again",
}

FILTERS = ("ids", "queue", "task", "lock", "queueing_lock", "older_than", "newer_than", "all")


def check_filters(parser: argparse.ArgumentParser, parsed: Mapping[str, Any]) -> None:
    """End the program with a usage error unless something says which jobs are meant."""
    if not any(name in parsed for name in FILTERS):
        parser.error("which jobs? Give ids or a filter, or --all for all jobs")


def check_cancel(parser: argparse.ArgumentParser, parsed: Mapping[str, Any]) -> None:
    """End the program with a usage error unless it can be done."""
    check_filters(parser, parsed)
    if parsed.get("status") == "doing" and not parsed.get("abort"):
        parser.error("argument --status: running jobs can only be asked to abort, with --abort")


async def retry(
    app: app_module.App,
    *,
    schedule_at: datetime.datetime | None = None,
    schedule_in: types.TimeDeltaParams | None = None,
    **options: Any,
) -> None:
    """Retry the jobs that pass the filters."""
    retry_at = schedule_at
    if schedule_in is not None:
        retry_at = utils.datetime_from_timedelta_params(schedule_in)
    await _change(app.job_manager.retry_jobs_async, "Retry", retry_at=retry_at, **options)


async def cancel(
    app: app_module.App, *, abort: bool = False, delete: bool = False, **options: Any
) -> None:
    """Cancel the jobs that pass the filters."""
    verb = "Delete" if delete else "Cancel"
    if abort:
        verb += " or abort"
    await _change(
        app.job_manager.cancel_jobs_async, verb, abort=abort, delete_jobs=delete, **options
    )


async def _change(
    verb: Callable[..., Awaitable[bulk.BulkResult]],
    name: str,
    *,
    dry_run: bool = False,
    yes: bool = False,
    **options: Any,
) -> None:
    if not (dry_run or yes) and sys.stdin.isatty() and progress.is_terminal():
        matched = await _run(verb, dry_run=True, **options)
        if matched.outcomes and not await _is_sure(name, len(matched.outcomes)):
            raise commands.CommandError("Nothing was changed.")
    result = await _run(verb, dry_run=dry_run, **options)
    for outcome, count in result.counts.items():
        print(f"{outcome}: {count}")
    if not result.outcomes:
        commands.print_stderr("No job passes the filters.")
    for nr, (job_id, reason) in enumerate(result.left.items()):
        if nr == NAMED:
            commands.print_stderr(f"… and {len(result.left) - NAMED} more")
            break
        commands.print_stderr(f"#{job_id} was left as it is: {REASONS[reason]}")


async def _run(
    verb: Callable[..., Awaitable[bulk.BulkResult]], **options: Any
) -> bulk.BulkResult:
    async with progress.progress() as shown:

        def on_progress(considered: int) -> None:
            shown.tell(f"{considered} jobs")

        return await verb(on_progress=on_progress, **options)


async def _is_sure(name: str, count: int) -> bool:
    jobs = "1 job" if count == 1 else f"{count} jobs"
    print(f"{name} {jobs}? [y/N] ", end="", file=sys.stderr, flush=True)
    answer = await utils.sync_to_async(sys.stdin.readline)
    return answer.strip().lower() in {"y", "yes"}
