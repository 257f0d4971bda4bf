"""The admin's pages and actions, by Django's test client."""

from __future__ import annotations

import datetime
import html
import re

import pytest
from django import test
from django.contrib import admin
from django.contrib.auth import models as auth
from django.db import connections
from django.http import HttpResponse

from procrastinate import utils
from procrastinate.contrib.django import admin as queue_admin
from procrastinate.contrib.django import app, models
from procrastinate.jobs import Status
from tests.python.django.project.shop import tasks

pytestmark = pytest.mark.usefixtures("shop")

LIST = "/admin/procrastinate/procrastinatejob/"
TASKS = "tests.python.django.project.shop.tasks"


@pytest.fixture
def boss(client: test.Client) -> test.Client:
    """A superuser who is logged in."""
    client.force_login(auth.User.objects.create_superuser("boss", password="boss"))
    return client


def act(client: test.Client, action: str, *job_ids: int) -> HttpResponse:
    selected = list(map(str, job_ids))
    response = client.post(LIST, {"action": action, "_selected_action": selected}, follow=True)
    assert isinstance(response, HttpResponse)
    assert response.status_code == 200
    return response


def shown(response: HttpResponse) -> list[tuple[str, str]]:
    """The messages on a page, with their levels."""
    found = re.findall(r'<li class="(success|warning)">(.*?)</li>', response.content.decode())
    return [(level, html.unescape(text)) for level, text in found]


def statuses() -> dict[int, str]:
    return dict(models.ProcrastinateJob.objects.values_list("pk", "status"))


def fail(job_id: int) -> None:
    app.connector.execute_query(
        "update procrastinate_jobs set status = 'doing' where id = %(id)s", id=job_id
    )
    app.connector.execute_query(
        "update procrastinate_jobs set status = 'failed' where id = %(id)s", id=job_id
    )


def summary_of(job_id: int) -> str:
    page = queue_admin.ProcrastinateJobAdmin(models.ProcrastinateJob, admin.site)
    return page.summary(models.ProcrastinateJob.objects.get(pk=job_id))


def test_only_jobs_are_in_the_admin() -> None:
    own = {model for model in admin.site._registry if model.__module__ == models.__name__}  # pyright: ignore[reportPrivateUsage] (is_registered asks for one at a time)
    assert own == {models.ProcrastinateJob}


def test_the_list_shows_a_job_in_short(boss: test.Client) -> None:
    tasks.send.defer(order="<b>tea</b>")

    page = boss.get(LIST).content.decode()

    assert f"<span title='{TASKS}.send'>t.p.d.p.s.t.send</span>" in page
    assert "&lt;b&gt;tea&lt;/b&gt;" in page
    assert "🗓️ Todo" in page
    for heading in ("Pk", "Task Name", "Args", "Status", "Summary"):
        assert f"{heading}</" in page


def test_the_list_asks_for_the_events_of_all_its_jobs_at_once(boss: test.Client) -> None:
    def queries() -> int:
        with test.utils.CaptureQueriesContext(connections["default"]) as captured:
            boss.get(LIST)
        return len(captured)

    tasks.send.defer(order="tea")
    few = queries()
    for _ in range(10):
        tasks.send.defer(order="tea")
    assert queries() == few


@pytest.mark.parametrize(
    "query",
    [
        "status__exact=todo",
        "queue_name=default",
        f"task_name={TASKS}.send",
        "lock=tea",
        "queueing_lock=tea",
        "priority=3",
        "scheduled_at__isnull=True",
    ],
)
def test_a_filter_finds_the_job(boss: test.Client, query: str) -> None:
    tasks.send.configure(lock="tea", queueing_lock="tea", priority=3).defer(order="tea")
    fail(tasks.count_stock.configure(schedule_in={"hours": 1}, lock="other").defer())

    page = boss.get(f"{LIST}?{query}").content.decode()

    assert "t.p.d.p.s.t.send</span>" in page
    assert "t.p.d.p.s.t.count_stock</span>" not in page


def test_the_page_of_a_job_has_its_events_and_nothing_to_change(boss: test.Client) -> None:
    job_id = tasks.send.defer(order="tea")

    page = boss.get(f"{LIST}{job_id}/change/").content.decode()

    assert f"Event 1 - Job {job_id}: deferred at" in page
    assert 'name="_save"' not in page
    assert '<input type="text"' not in page


def test_jobs_are_neither_added_nor_changed_nor_deleted(boss: test.Client) -> None:
    job_id = tasks.send.defer(order="tea")

    assert boss.get(f"{LIST}add/").status_code == 403
    assert boss.get(f"{LIST}{job_id}/delete/").status_code == 403
    assert boss.post(f"{LIST}{job_id}/change/", {"priority": "7"}).status_code == 403
    assert models.ProcrastinateJob.objects.get().priority == 0


def test_the_actions_are_named_as_ever(boss: test.Client) -> None:
    tasks.send.defer(order="tea")
    page = boss.get(LIST).content.decode()
    for value, label in {
        "retry": "Retry Job",
        "cancel": "Cancel Job (only &#x27;todo&#x27; jobs)",
        "abort": "Abort Job (includes &#x27;todo&#x27; &amp; &#x27;doing&#x27; jobs)",
    }.items():
        assert f'<option value="{value}">{label}</option>' in page
    assert "delete_selected" not in page


def test_retry_puts_failed_jobs_back_and_says_which(boss: test.Client) -> None:
    failed, waiting = tasks.fail.defer(reason="no"), tasks.send.defer(order="tea")
    fail(failed)

    response = act(boss, "retry", failed, waiting)

    assert statuses() == {failed: "todo", waiting: "todo"}
    assert shown(response) == [
        ("success", f"Job {failed} was retried"),
        ("warning", f"Job {waiting} was not retried: the status does not allow it"),
    ]


def test_a_retry_whose_queueing_lock_is_taken_is_told(boss: test.Client) -> None:
    failed = tasks.count_stock.defer()
    fail(failed)
    tasks.count_stock.defer()

    response = act(boss, "retry", failed)

    assert statuses()[failed] == "failed"
    reason = "another job waits with the same queueing lock"
    assert shown(response) == [("warning", f"Job {failed} was not retried: {reason}")]


def test_cancel_takes_what_waits(boss: test.Client) -> None:
    running, waiting = tasks.send.defer(order="tea"), tasks.send.defer(order="coffee")
    app.connector.execute_query(
        "update procrastinate_jobs set status = 'doing' where id = %(id)s", id=running
    )

    response = act(boss, "cancel", running, waiting)

    assert statuses() == {running: "doing", waiting: "cancelled"}
    assert [level for level, _ in shown(response)] == ["success", "warning"]
    assert not models.ProcrastinateJob.objects.get(pk=running).abort_requested


def test_abort_takes_what_waits_and_asks_what_runs(boss: test.Client) -> None:
    running, waiting = tasks.send.defer(order="tea"), tasks.send.defer(order="coffee")
    app.connector.execute_query(
        "update procrastinate_jobs set status = 'doing' where id = %(id)s", id=running
    )

    response = act(boss, "abort", running, waiting)

    assert statuses() == {running: "doing", waiting: "cancelled"}
    assert models.ProcrastinateJob.objects.get(pk=running).abort_requested
    assert shown(response) == [
        ("success", f"Jobs {running}, {waiting} were cancelled or asked to abort")
    ]


def test_whoever_may_only_look_has_no_actions(client: test.Client) -> None:
    viewer = auth.User.objects.create_user("viewer", password="viewer", is_staff=True)
    viewer.user_permissions.add(auth.Permission.objects.get(codename="view_procrastinatejob"))
    client.force_login(viewer)
    job_id = tasks.send.defer(order="tea")

    assert "Cancel Job" not in client.get(LIST).content.decode()
    act(client, "cancel", job_id)
    assert statuses() == {job_id: "todo"}

    viewer.user_permissions.add(auth.Permission.objects.get(codename="change_procrastinatejob"))
    act(client, "cancel", job_id)
    assert statuses() == {job_id: "cancelled"}


def test_each_status_has_its_sign() -> None:
    page = queue_admin.ProcrastinateJobAdmin(models.ProcrastinateJob, admin.site)
    assert set(queue_admin.JOB_STATUS_EMOJI_MAPPING) == {status.value for status in Status}
    assert page.pretty_status(models.ProcrastinateJob(status="failed")) == "❌ Failed"
    assert page.pretty_status(models.ProcrastinateJob(status="succeeded")) == "✅ Succeeded"


def test_long_arguments_are_set_out_line_by_line() -> None:
    page = queue_admin.ProcrastinateJobAdmin(models.ProcrastinateJob, admin.site)
    short = page.pretty_args(models.ProcrastinateJob(args={"a": "é"}))
    assert "{&quot;a&quot;: &quot;é&quot;}</pre>" in short
    assert "\n  &quot;a&quot;" in page.pretty_args(
        models.ProcrastinateJob(args={"a": "x" * 80})
    )


def test_the_summary_tells_what_is_not_as_usual() -> None:
    plain = tasks.send.defer(order="tea")
    assert "Deferred <strong" in summary_of(plain)
    assert "ago</strong>" in summary_of(plain)
    for absent in ("Lock", "Priority", "Scheduled", "Attempts", "Abort"):
        assert absent not in summary_of(plain)

    moment = utils.utcnow() + datetime.timedelta(hours=2)
    special = tasks.count_stock.configure(priority=4, schedule_at=moment).defer()
    told = summary_of(special)
    for line in ("Queue: <strong>slow", "Lock: <strong>stock", "Queueing lock: <strong>count"):
        assert line in told
    assert "Priority: <strong>4" in told
    assert "Scheduled: <strong" in told
    assert ">in 1\xa0hour, 59\xa0minutes" in told

    app.connector.execute_query(
        "update procrastinate_jobs set status = 'doing' where id = %(id)s", id=plain
    )
    app.job_manager.cancel_job_by_id(plain, abort=True)
    assert "Abort: <strong>requested" in summary_of(plain)
    assert "Abort requested <strong" in summary_of(plain)


def test_a_job_without_a_history_is_shown_without_one(boss: test.Client) -> None:
    job_id = tasks.send.defer(order="tea")
    with connections["default"].cursor() as cursor:
        cursor.execute("delete from procrastinate_events")

    page = boss.get(LIST).content.decode()

    assert f">{job_id}<" in page
    assert "Deferred" not in page


def test_an_event_without_a_moment_is_shown_without_one(boss: test.Client) -> None:
    tasks.send.defer(order="tea")
    with connections["default"].cursor() as cursor:
        cursor.execute("update procrastinate_events set at = null")

    page = boss.get(LIST).content.decode()

    assert "Deferred" in page
    assert " ago" not in page
