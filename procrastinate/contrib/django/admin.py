"""Jobs in Django's admin: to be looked at, retried, cancelled and aborted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django import apps
from django.contrib import admin, messages
from django.db import transaction
from django.utils import html, safestring, timesince, timezone

from procrastinate import exceptions
from procrastinate.contrib.django import models, settings
from procrastinate.contrib.django.apps import ProcrastinateConfig
from procrastinate.jobs import Status
from procrastinate.rpc import front

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Iterator

    from django.db.models import QuerySet
    from django.http import HttpRequest

    from procrastinate.app import App
    from procrastinate.rpc.call import Call

    _EventInline = admin.StackedInline[models.ProcrastinateEvent, models.ProcrastinateJob]
    _JobAdmin = admin.ModelAdmin[models.ProcrastinateJob]
else:  # Django's own classes take no parameters
    _EventInline, _JobAdmin = admin.StackedInline, admin.ModelAdmin

JOB_STATUS_EMOJI_MAPPING = {
    Status.TODO.value: "🗓️",
    Status.DOING.value: "🚂",
    Status.FAILED.value: "❌",
    Status.SUCCEEDED.value: "✅",
    Status.CANCELLED.value: "🤚",
    Status.ABORTING.value: "🔌🕑️",
    Status.ABORTED.value: "🔌",
}

# Characters up to which arguments stand on one line.
_ONE_LINE = 60


class ProcrastinateEventInline(_EventInline):
    """What happened to a job, on its page."""

    model = models.ProcrastinateEvent
    extra = 0
    ordering = ("id",)


class ProcrastinateJobAdmin(_JobAdmin):
    """The jobs."""

    fields = [
        "pk",
        "short_task_name",
        "pretty_args",
        "pretty_status",
        "queue_name",
        "lock",
        "queueing_lock",
        "priority",
        "scheduled_at",
        "attempts",
    ]
    list_display = ["pk", "short_task_name", "pretty_args", "pretty_status", "summary"]
    list_filter = [
        "status",
        "queue_name",
        "task_name",
        "lock",
        "queueing_lock",
        "scheduled_at",
        "priority",
    ]
    inlines = [ProcrastinateEventInline]
    actions = ["retry", "cancel", "abort"]

    def get_readonly_fields(
        self, request: Any, obj: models.ProcrastinateJob | None = None
    ) -> Any:
        """Return all fields: they are for reading."""
        return self.fields

    def has_change_permission(
        self, request: Any, obj: models.ProcrastinateJob | None = None
    ) -> bool:
        """Refuse: a job changes by what happens to it."""
        return False

    def has_add_permission(
        self, request: Any, obj: models.ProcrastinateJob | None = None
    ) -> bool:
        """Refuse: tasks are deferred."""
        return False

    def has_delete_permission(
        self, request: Any, obj: models.ProcrastinateJob | None = None
    ) -> bool:
        """Refuse: workers and the command line delete jobs."""
        return False

    def has_manage_permission(self, request: HttpRequest) -> bool:
        """Tell whether a user may run the actions: whoever may only look may not."""
        # docs/decisions/0048-admin-actions-need-the-change-permission.md
        user: Any = request.user  # the project's class
        return bool(user.has_perm(f"{self.opts.app_label}.change_procrastinatejob"))

    def get_queryset(self, request: Any) -> QuerySet[models.ProcrastinateJob]:
        """Return the jobs with their events, which the summary shows."""
        return super().get_queryset(request).prefetch_related("procrastinateevent_set")

    @admin.display(description="Status")
    def pretty_status(self, instance: models.ProcrastinateJob) -> str:
        """Show the status."""
        emoji = JOB_STATUS_EMOJI_MAPPING.get(instance.status, "")
        return f"{emoji} {instance.status.title()}".strip()

    @admin.display(description="Task Name")
    def short_task_name(self, instance: models.ProcrastinateJob) -> str:
        """Show the task's name, with its modules shortened to their initials."""
        *modules, name = instance.task_name.split(".")
        short = ".".join([*(module[:1] for module in modules), name])
        return html.format_html("<span title='{}'>{}</span>", instance.task_name, short)

    @admin.display(description="Args")
    def pretty_args(self, instance: models.ProcrastinateJob) -> str:
        """Show the arguments, on one line if they fit."""
        text = json.dumps(instance.args, ensure_ascii=False)
        if len(text) > _ONE_LINE:
            text = json.dumps(instance.args, ensure_ascii=False, indent=2)
        return html.format_html(
            '<pre style="margin: 0; padding: 0; white-space: pre-wrap; '
            'overflow-wrap: anywhere">{}</pre>',
            text,
        )

    @admin.display(description="Summary")
    def summary(self, instance: models.ProcrastinateJob) -> str:
        """Show what happened last, and what is not as usual."""
        lines = html.format_html_join(
            "",
            '<li style="list-style-type: none">{}{} <strong{}>{}</strong></li>',
            _summary_lines(instance),
        )
        return html.format_html(
            '<ul style="padding: 0; margin: 0; min-width: 13em">{}</ul>', lines
        )

    @admin.action(description="Retry Job", permissions=["manage"])
    def retry(self, request: HttpRequest, queryset: QuerySet[models.ProcrastinateJob]) -> None:
        """Put the jobs back into their queues, to run at once."""
        self._apply(request, queryset, lambda job_id: front.retry_job(job_id=job_id), "retried")

    @admin.action(description="Cancel Job (only 'todo' jobs)", permissions=["manage"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[models.ProcrastinateJob]) -> None:
        """Cancel those of the jobs that wait."""
        self._apply(
            request, queryset, lambda job_id: front.cancel_job(job_id=job_id), "cancelled"
        )

    @admin.action(
        description="Abort Job (includes 'todo' & 'doing' jobs)", permissions=["manage"]
    )
    def abort(self, request: HttpRequest, queryset: QuerySet[models.ProcrastinateJob]) -> None:
        """Cancel those of the jobs that wait, and ask those that run to abort."""
        self._apply(
            request,
            queryset,
            lambda job_id: front.cancel_job(job_id=job_id, abort=True),
            "cancelled or asked to abort",
        )

    def _apply(
        self,
        request: HttpRequest,
        queryset: QuerySet[models.ProcrastinateJob],
        change: Callable[[int], Call[bool]],
        done: str,
    ) -> None:
        """Change each job by itself: one that refuses does not hold back the others."""
        connector = _app().connector.get_sync_connector()
        changed, refused, held_back = list[int](), list[int](), list[int]()
        for job_id in queryset.order_by("pk").values_list("pk", flat=True):
            try:
                # A savepoint: a refusal must not end the transaction of the request.
                with transaction.atomic(using=settings.settings.DATABASE_ALIAS):
                    applied = connector.call(change(job_id))
            except exceptions.UniqueViolation:
                held_back.append(job_id)
            except exceptions.JobNotFound:  # since the page was made
                refused.append(job_id)
            else:
                (changed if applied else refused).append(job_id)
        if changed:
            self.message_user(request, f"{_listed(changed)} {done}", messages.SUCCESS)
        for job_ids, reason in (
            (refused, "the status does not allow it"),
            (held_back, "another job waits with the same queueing lock"),
        ):
            if job_ids:
                text = f"{_listed(job_ids)} not {done}: {reason}"
                self.message_user(request, text, messages.WARNING)


# This module can be imported where there is no admin.
if apps.apps.is_installed("django.contrib.admin"):
    admin.site.register(models.ProcrastinateJob, ProcrastinateJobAdmin)


def _app() -> App:
    config = apps.apps.get_app_config("procrastinate")
    assert isinstance(config, ProcrastinateConfig)
    return config.app


def _listed(job_ids: list[int]) -> str:
    shown = ", ".join(map(str, job_ids))
    return f"Job {shown} was" if len(job_ids) == 1 else f"Jobs {shown} were"


def _summary_lines(
    job: models.ProcrastinateJob,
) -> Iterator[tuple[str, str, safestring.SafeString, str]]:
    """Yield, for each line, what is told, a colon, the title's attribute and the value."""
    none = safestring.mark_safe("")
    # In the order in which they were written: an event may lie in the future.
    events = sorted(job.procrastinateevent_set.all(), key=lambda event: event.pk)
    if events:
        last = events[-1]
        label = last.type.replace("_", " ").capitalize()
        yield (label, "", *_moment(last.at))
    yield "Queue", ":", none, job.queue_name
    if job.priority:
        yield "Priority", ":", none, str(job.priority)
    if job.lock:
        yield "Lock", ":", none, job.lock
    if job.queueing_lock:
        yield "Queueing lock", ":", none, job.queueing_lock
    if job.scheduled_at and job.status == Status.TODO.value:
        yield ("Scheduled", ":", *_moment(job.scheduled_at))
    if job.attempts:
        yield "Attempts", ":", none, str(job.attempts)
    if job.abort_requested:
        yield "Abort", ":", none, "requested"


def _moment(at: datetime.datetime | None) -> tuple[safestring.SafeString, str]:
    if at is None:
        return safestring.mark_safe(""), ""
    local = timezone.localtime(at) if timezone.is_aware(at) else at
    title = html.format_html(' title="{}"', f"{local} ({local.tzname() or 'local time'})")
    now = timezone.now()
    text = f"in {timesince.timeuntil(at)}" if at > now else f"{timesince.timesince(at)} ago"
    return title, text
