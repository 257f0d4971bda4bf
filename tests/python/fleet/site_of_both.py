"""
A Django site, of 3.10 in its environment and of ours in this one: a command of Django's, or `play`.

`play` prints what the site saw, as JSON. The database is the one of FLEET_DSN.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import sys
from typing import Any

import django
import psycopg.conninfo
from django import conf, db, test, urls
from django.contrib import admin, auth
from django.core import management
from django.db import transaction
from django.db.migrations import executor

parts = psycopg.conninfo.conninfo_to_dict(os.environ["FLEET_DSN"])
conf.settings.configure(
    SECRET_KEY="of no use to anybody",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    LOGGING_CONFIG=None,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": parts.get("dbname", ""),
            "HOST": parts.get("host", ""),
            "PORT": parts.get("port", ""),
            "USER": parts.get("user", ""),
            "PASSWORD": parts.get("password", ""),
        }
    },
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
        "procrastinate.contrib.django",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
)
django.setup()

import procrastinate  # noqa: E402 (Django is to be set up before)
from procrastinate.contrib.django import app, models  # noqa: E402

urlpatterns = [urls.path("admin/", admin.site.urls)]


@app.task(name="count", queue="django")
def count() -> None:
    assert models.ProcrastinateJob.objects.filter(status="doing").count() == 1


def histories() -> dict[str, list[str]]:
    """The events of each job, by its queue and arguments."""
    return {
        f"{job.queue_name} {job.args}": list(
            models.ProcrastinateEvent.objects.filter(job_id=job.id)
            .order_by("id")
            .values_list("type", flat=True)
        )
        for job in models.ProcrastinateJob.objects.select_related("worker").order_by("id")
    }


def pages() -> dict[str, int]:
    """How the admin answers for each model, and for one of its rows."""
    user: Any = auth.get_user_model()
    boss = user.objects.create_superuser(f"boss of {procrastinate.__version__}", "a@b.c", "p")
    client = test.Client()
    client.force_login(boss)
    answered: dict[str, int] = {}
    for model in admin.site._registry:
        name = model._meta.model_name
        if model._meta.app_label == "procrastinate":
            listed = urls.reverse(f"admin:procrastinate_{name}_changelist")
            answered[f"{name} list"] = client.get(listed).status_code
            for row in model.objects.all()[:1]:
                one = urls.reverse(f"admin:procrastinate_{name}_change", args=[row.pk])
                answered[f"{name} row"] = client.get(one).status_code
    return answered


def play() -> dict[str, Any]:
    migrations = executor.MigrationExecutor(db.connection)
    pending = migrations.migration_plan(migrations.loader.graph.leaf_nodes())
    management.call_command("migrate", verbosity=0)  # which has nothing to do
    management.call_command("makemigrations", "procrastinate", check=True, verbosity=0)
    healthy = io.StringIO()
    with contextlib.redirect_stdout(healthy):
        management.call_command("procrastinate", "healthchecks")

    task = app.configure_task("count", queue="django")
    with contextlib.suppress(ZeroDivisionError), transaction.atomic():
        task.defer(n="rolled back")
        raise ZeroDivisionError
    with transaction.atomic():
        job_id = app.configure_task("count", queue="django").defer()
        within = models.ProcrastinateJob.objects.get(id=job_id).status
    asyncio.run(app.configure_task("count", queue="ours").defer_async(n="async"))
    app.configure_task("count", queue="ours", queueing_lock="once").defer()
    refused = ""
    try:
        with transaction.atomic():
            app.configure_task("count", queue="ours", queueing_lock="once").defer()
    except procrastinate.exceptions.AlreadyEnqueued as error:
        refused = str(error)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        management.call_command("procrastinate", "worker", "--one-shot", "--queues=django")
    return {
        "pending": [str(migration) for migration, _ in pending],
        "healthy": healthy.getvalue(),
        "within": within,
        "refused": refused,
        "histories": histories(),
        "pages": pages(),
        "workers": models.ProcrastinateWorker.objects.count(),
        "periodic": models.ProcrastinatePeriodicDefer.objects.count(),
    }


if sys.argv[1] == "play":
    print(json.dumps(play()))
else:
    management.execute_from_command_line(sys.argv)
