"""
What the commands do.

Each is called with the app, open if it can be, and its options as keyword arguments. Progress
and errors go to stderr, data to stdout.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import sys
from typing import TYPE_CHECKING, Any, cast

from procrastinate import exceptions, types, utils
from procrastinate.cli import progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from procrastinate import app as app_module
    from procrastinate import jobs

NOT_AN_OBJECT = "Incorrect JSON_ARGS value expecting a valid json object (or dict)"

NO_TABLE = (
    "Connection to the database works but the procrastinate_jobs table was not found. "
    "Have you applied database migrations (see `procrastinate schema -h`)?"
)


class CommandError(exceptions.ProcrastinateException):
    """
    The command did not succeed.
    """


def print_stderr(*args: Any) -> None:
    """Print for people: what programs read goes to stdout."""
    print(*args, file=sys.stderr, flush=True)


async def worker(app: app_module.App, **kwargs: Any) -> None:
    """Run a worker until it is told to stop."""
    queues = utils.queues_display(kwargs.get("queues")).removeprefix("queues ")
    print_stderr(f"Launching a worker on {queues}")
    await app.run_worker_async(**kwargs)


async def defer(
    app: app_module.App,
    task: str,
    json_args: str | None,
    ignore_already_enqueued: bool,
    unknown: bool,
    **configure_kwargs: Any,
) -> None:
    """Defer one job."""
    app.perform_import_paths()
    args = load_json_args(json_args, app.connector.json_loads or json.loads)
    job_deferrer = configure_task(app, task, configure_kwargs, allow_unknown=unknown)

    # A job that is not deferred has no id, which its call string would show.
    arguments = ", ".join(f"{key}={value!r}" for key, value in args.items())
    print_stderr(f"Launching a job: {task}({arguments})")
    try:
        await job_deferrer.defer_async(**args)
    except exceptions.AlreadyEnqueued as exc:
        if not ignore_already_enqueued:
            raise
        print_stderr(f"{exc} (ignored)")


def load_json_args(
    json_args: str | None, json_loads: Callable[[str], Any] = json.loads
) -> types.JSONDict:
    """
    Read the arguments of a job: a JSON object, or nothing.

    Raises
    ------
    CommandError
        They are something else.
    """
    if json_args is None:
        return {}
    try:
        args = json_loads(json_args)
    except ValueError as exc:
        raise CommandError(NOT_AN_OBJECT) from exc
    if not isinstance(args, dict):
        raise CommandError(NOT_AN_OBJECT)
    return cast("types.JSONDict", args)


def configure_task(
    app: app_module.App, task_name: str, configure_kwargs: dict[str, Any], allow_unknown: bool
) -> jobs.JobDeferrer:
    """Configure a task, by its name."""
    return app.configure_task(task_name, allow_unknown=allow_unknown, **configure_kwargs)


async def schema(
    app: app_module.App,
    *,
    apply: bool,
    migrate: bool,
    plan: bool,
    check: bool,
    read: bool,
    migrations_path: bool,
    revert: str | None,
    roles: bool = False,
    role: list[tuple[str, str | None]] | None = None,
) -> None:
    """Read, apply, migrate or check the schema; apply it if nothing else is asked."""
    manager = app.schema_manager
    if migrations_path:
        print(manager.get_migrations_path())
    elif read:
        print(manager.get_schema().strip())
    elif plan:
        for line in await manager.explain_async():
            print(line)
    elif revert is not None:
        script = _read_text(revert)
        print_stderr("Reverting schema")
        await manager.revert_async(script)
        print_stderr("Done")
    elif check:
        print_stderr("Checking schema")
        differences = [item for item in await manager.check_async() if not item.harmless]
        for difference in differences:
            print(difference)
        if differences:
            raise CommandError("The database does not have the schema of this version.")
        print_stderr("Done")
    elif roles or role:
        for made in await manager.create_roles_async(**dict(role or ())):
            print(f"{made.name}: {made.part}{', created' if made.is_new else ''}")
    elif migrate:
        print_stderr("Applying migrations")
        async with progress.progress() as shown:
            names = await manager.migrate_async(on_begin=shown.tell)
        for name in names:
            print(name)
        print_stderr("Done")
    else:
        print_stderr("Applying schema")
        async with progress.progress():
            await manager.apply_schema_async()
        print_stderr("Done")


def _read_text(path: str) -> str:
    return sys.stdin.read() if path == "-" else pathlib.Path(path).read_text("utf-8")


def schema_needs_database(*, migrations_path: bool, read: bool, **_: object) -> bool:
    """Whether what is asked can only be answered by a database."""
    return not (migrations_path or read)


async def healthchecks(app: app_module.App) -> None:
    """Say what works, until something does not."""
    found = await app.check_connection_async()
    print("App configuration: OK")
    print("DB connection: OK")
    if not found:
        raise CommandError(NO_TABLE)
    print("Found procrastinate_jobs table: OK")


async def shell_(app: app_module.App, shell_command: list[str]) -> None:
    """
    Run one command of the shell, or let the user type them.

    Exits with 1 if one has failed, unless somebody was at a terminal who saw it.
    """
    import shlex  # noqa: PLC0415  (only here)

    from procrastinate import shell  # noqa: PLC0415  (only here)

    session = shell.ProcrastinateShell(
        job_manager=app.job_manager,
    )
    if shell_command:
        await utils.sync_to_async(session.onecmd, line=shlex.join(shell_command))
    else:
        with contextlib.suppress(KeyboardInterrupt):
            await utils.sync_to_async(session.cmdloop)
    if session.failed and (shell_command or not sys.stdin.isatty()):
        sys.exit(1)
