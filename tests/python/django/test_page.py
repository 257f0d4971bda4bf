"""The page about Django is followed, in a project that is made of what it says."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
from typing import Any

import attrs

from tests.python.django.project import settings as project_settings

ROOT = pathlib.Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "howto" / "django.md").read_text()
ELSEWHERE = re.compile(r"^### The queue in another database\n.*?(?=^## )", re.M | re.S)

BLOCK = re.compile(r"^```(?P<language>python|sh|text)\n(?P<text>.*?)^```$", re.M | re.S)
FILE = re.compile(r"# (?P<name>[\w/]+\.py)\n")  # the first line of what is to be saved

# What every project has, and the page therefore leaves out.
SETTINGS = """\
import json, os
SECRET_KEY = "of no use to anybody"
ROOT_URLCONF = "urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = json.loads(os.environ["DATABASES"])
"""
URLS = """\
from django.urls import path
from shop import views
urlpatterns = [path("order/", views.order)]
"""
# One process for all that the reader does: commands, and what is typed into the shell.
FOLLOW = """\
import json, sys
import django
from django.core import management
django.setup()
for step in json.load(sys.stdin):
    if isinstance(step, list):
        management.execute_from_command_line(step)
    else:
        print("+", flush=True)
        exec(step, {})
        print("-", flush=True)
"""
DEFER_IN_THE_QUEUES_TRANSACTION = """
from django.db import transaction
from shop.tasks import send
with transaction.atomic(using="queue"):
    send.defer(order_id=1)
with transaction.atomic(using="queue"):
    send.defer(order_id=2)
    transaction.set_rollback(True, using="queue")
"""
# By the models, from the table of the second database alone.
PRINT_STATUSES = """
from django.db import connections
from procrastinate.contrib.django.models import ProcrastinateEvent, ProcrastinateJob
jobs = ProcrastinateJob.objects.order_by("task_name")
event = ProcrastinateEvent.objects.select_related("job").latest()
here = [name for name in connections["default"].introspection.table_names() if "procr" in name]
print(list(jobs.values_list("task_name", "status")), event.job in jobs, here)
"""


@attrs.frozen
class Project:
    """A project of a reader's."""

    directory: pathlib.Path
    databases: dict[str, Any]

    def write(self, page: str) -> None:
        """Save what the page says belongs into a file, all parts of one file together."""
        files: dict[str, str] = {
            "settings.py": SETTINGS,
            "urls.py": URLS,
            "shop/__init__.py": "",
        }
        for block in BLOCK.finditer(page):
            if saved := FILE.match(block["text"]):
                files[saved["name"]] = files.get(saved["name"], "") + block["text"] + "\n"
        (self.directory / "shop").mkdir()
        for name, text in files.items():
            (self.directory / name).write_text(text)

    def follow(self, *steps: list[str] | str) -> subprocess.CompletedProcess[str]:
        """Type commands, and programs, one after the other."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PG", "PROCRASTINATE_", "DJANGO_"))
        }
        done = subprocess.run(
            [sys.executable, "-W", "error::DeprecationWarning", "-c", FOLLOW],
            env={
                **inherited,
                "DATABASES": json.dumps(self.databases),
                "DJANGO_SETTINGS_MODULE": "settings",
                "PYTHONPATH": os.pathsep.join([str(self.directory), str(ROOT)]),
            },
            cwd=self.directory,
            input=json.dumps(steps),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done


def steps(page: str) -> list[list[str] | str]:
    """What the page has a reader type; the worker, which would go on, comes last and ends."""
    found: list[list[str] | str] = []
    workers: list[list[str] | str] = []
    for block in BLOCK.finditer(page):
        if block["language"] == "sh":
            for line in block["text"].splitlines():
                program, *call = shlex.split(line)
                if program == "python":
                    worker = "worker" in call
                    (workers if worker else found).append([*call, *["--one-shot"] * worker])
        elif block["language"] == "python" and not FILE.match(block["text"]):
            found.append(block["text"])
    return [*found, *workers]


def test_a_project_that_does_what_the_page_says_works(
    empty_dsn: str, tmp_path: pathlib.Path
) -> None:
    page = ELSEWHERE.sub("", PAGE)
    project = Project(tmp_path, {"default": project_settings.database(empty_dsn)})
    project.write(page)

    done = project.follow(
        ["manage.py", "makemigrations", "shop"],
        *steps(page),
        ["manage.py", "test", "shop"],
    )

    said = [block["text"] for block in BLOCK.finditer(page) if block["language"] == "text"]
    printed = [text for text in re.findall(r"^\+\n(.*?)^-\n", done.stdout, re.M | re.S) if text]
    assert printed == said
    assert "Worker App: OK" in done.stdout
    assert re.search(r"Ran 2 tests .*\n\nOK", done.stderr), done.stderr


def test_a_queue_in_a_second_database_works_where_the_first_is_none_of_postgresqls(
    empty_dsn: str, tmp_path: pathlib.Path
) -> None:
    first = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "shop.db")}
    project = Project(
        tmp_path, {"default": first, "queue": project_settings.database(empty_dsn)}
    )
    (elsewhere,) = ELSEWHERE.findall(PAGE)
    page = "".join(
        block[0] + "\n"
        for block in BLOCK.finditer(PAGE)
        if "shop/tasks.py" in block["text"] or "INSTALLED_APPS" in block["text"]
    )
    project.write(page + elsewhere)
    (tmp_path / "urls.py").write_text("urlpatterns = []\n")

    done = project.follow(
        *steps(elsewhere),
        ["manage.py", "procrastinate", "healthchecks"],
        ["manage.py", "procrastinate", "defer", "shop.tasks.count_stock", '{"timestamp": 0}'],
        DEFER_IN_THE_QUEUES_TRANSACTION,
        ["manage.py", "procrastinate", "worker", "--one-shot"],
        PRINT_STATUSES,
    )

    assert "Worker App: OK" in done.stdout
    assert "Order 1 is on its way\n" in done.stdout
    assert "Order 2" not in done.stdout
    assert done.stdout.endswith(
        "[('shop.tasks.count_stock', 'succeeded'), "
        "('shop.tasks.send', 'succeeded')] True []\n-\n"
    )
