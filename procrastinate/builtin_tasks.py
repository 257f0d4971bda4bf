"""Tasks that every app has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from procrastinate import blueprints, utils

if TYPE_CHECKING:
    from procrastinate import app as app_module
    from procrastinate import job_context, tasks

NAMESPACE = "builtin"

builtin: blueprints.Blueprint = blueprints.Blueprint()


@builtin.task(
    name=utils.add_namespace("procrastinate.builtin_tasks.remove_old_jobs", NAMESPACE),
    aliases=["procrastinate.builtin_tasks.remove_old_jobs"],
    pass_context=True,
    queue=NAMESPACE,
)
async def remove_old_jobs(
    context: job_context.JobContext,
    *,
    max_hours: int,
    queue: str | None = None,
    remove_failed: bool | None = False,
    remove_cancelled: bool | None = False,
    remove_aborted: bool | None = False,
) -> None:
    """
    This task cleans your database by removing old jobs. Note that jobs and linked
    events will be irreversibly removed from the database when running this task.

    Parameters
    ----------
    context :
        Given by the worker.
    max_hours :
        Only jobs which were finished more than ``max_hours`` ago will be deleted.
    queue :
        The name of the queue in which jobs will be deleted. If not specified, the
        task will delete jobs from all queues.
    remove_failed :
        By default only successful jobs will be removed. When this parameter is True
        failed jobs will also be deleted.
    remove_cancelled :
        By default only successful jobs will be removed. When this parameter is True
        cancelled jobs will also be deleted.
    remove_aborted :
        By default only successful jobs will be removed. When this parameter is True
        aborted jobs will also be deleted.
    """
    await context.app.job_manager.delete_old_jobs(
        nb_hours=max_hours,
        queue=queue,
        include_failed=remove_failed,
        include_cancelled=remove_cancelled,
        include_aborted=remove_aborted,
    )


def add_to(app: app_module.App) -> None:
    """
    Give an app the builtin tasks, each under the same name and alias on every app.

    An app gets tasks of its own. Those of this module, which belong to nobody until there is
    an app, defer to the app made last.
    """
    distinct: dict[int, tasks.Task[Any, Any, Any]] = {
        id(task): task for task in builtin.tasks.values()
    }
    blueprints.logger.info(
        "Adding tasks from blueprint",
        extra={
            "action": "loading_blueprint",
            "namespace": NAMESPACE,
            "tasks": [task.name for task in distinct.values()],
        },
    )
    for task in distinct.values():
        app.task(
            name=task.name,
            aliases=task.aliases,
            pass_context=True,
            queue=task.queue,
        )(task.func)
        task.blueprint = app
