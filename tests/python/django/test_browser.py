"""The admin in a real browser: logging in, looking at jobs, and each action."""

from __future__ import annotations

import os
import pathlib
import shutil
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth import models as auth
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.servers import basehttp
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support import expected_conditions, wait
from selenium.webdriver.support.select import Select

from procrastinate.contrib.django import app, models
from tests.python.django.project.shop import tasks

REQUIRED = "PROCRASTINATE_REQUIRE_CHROMIUM"
MISSING = "chromium and chromedriver are not installed (Debian: chromium, chromium-driver)"
# Where a screenshot is left, if somebody wants to look at it.
SCREENSHOTS = "PROCRASTINATE_SCREENSHOTS"

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1280,800",
)

FITS = "return document.documentElement.scrollWidth <= document.documentElement.clientWidth"


@pytest.fixture
def address(shop: str) -> Iterator[str]:
    """Where the project is served."""
    server = basehttp.ThreadedWSGIServer(("127.0.0.1", 0), basehttp.WSGIRequestHandler)
    server.daemon_threads = True  # a browser keeps connections open
    server.set_app(StaticFilesHandler(WSGIHandler()))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def browser(tmp_path: pathlib.Path) -> Iterator[webdriver.Chrome]:
    """A browser that knows nothing yet."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        if os.environ.get(REQUIRED):
            pytest.fail(f"{MISSING}, and {REQUIRED} is set", pytrace=False)
        pytest.skip(MISSING)
    options = Options()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'chromium'}"):
        options.add_argument(flag)
    browser = webdriver.Chrome(options=options, service=Service(executable_path=driver))
    yield browser
    browser.quit()


def act(browser: webdriver.Chrome, action: str, *job_ids: int) -> list[str]:
    """Run an action as a person does, and return what the page says then."""
    for job_id in job_ids:
        browser.find_element(By.CSS_SELECTOR, f'input[value="{job_id}"]').click()
    Select(browser.find_element(By.NAME, "action")).select_by_value(action)
    page = browser.find_element(By.TAG_NAME, "html")
    browser.find_element(By.CSS_SELECTOR, "button[name=index]").click()
    wait.WebDriverWait(browser, 20).until(expected_conditions.staleness_of(page))
    return [each.text for each in browser.find_elements(By.CSS_SELECTOR, ".messagelist li")]


def run(job_id: int, *statuses: str) -> None:
    for status in statuses:
        app.connector.execute_query(
            "update procrastinate_jobs set status = %(status)s::procrastinate_job_status "
            "where id = %(id)s",
            id=job_id,
            status=status,
        )


def test_somebody_looks_after_the_queue(browser: webdriver.Chrome, address: str) -> None:
    auth.User.objects.create_superuser("boss", password="boss")
    failed = tasks.fail.defer(reason="out of tea")
    waiting = tasks.send.configure(priority=5).defer(order="tea " * 40)
    later = tasks.count_stock.configure(schedule_in={"hours": 3}).defer()
    running = tasks.send.configure(lock="till").defer(order="<script>alert(1)</script>")
    ended = tasks.send.defer(order="coffee")
    run(failed, "doing", "failed")
    run(running, "doing")
    run(ended, "doing", "succeeded")

    browser.get(f"{address}/admin/")
    browser.find_element(By.NAME, "username").send_keys("boss")
    browser.find_element(By.NAME, "password").send_keys("boss")
    browser.find_element(By.CSS_SELECTOR, "input[type=submit]").click()
    browser.find_element(By.LINK_TEXT, "Procrastinate jobs").click()

    rows = browser.find_elements(By.CSS_SELECTOR, "#result_list tbody tr")
    assert [row.find_element(By.TAG_NAME, "th").text for row in rows] == [
        str(job_id) for job_id in (ended, running, later, waiting, failed)
    ]
    assert "❌ Failed" in rows[-1].text
    fits: Any = browser.execute_script(FITS)  # pyright: ignore[reportUnknownMemberType] (selenium leaves it untyped)
    assert fits is True
    keep_screenshot(browser, "admin-list")

    assert act(browser, "retry", failed) == [f"Job {failed} was retried"]
    assert act(browser, "cancel", waiting, running) == [
        f"Job {waiting} was cancelled",
        f"Job {running} was not cancelled: the status does not allow it",
    ]
    assert act(browser, "abort", later, running) == [
        f"Jobs {later}, {running} were cancelled or asked to abort"
    ]
    assert dict(models.ProcrastinateJob.objects.values_list("pk", "status")) == {
        failed: "todo",
        waiting: "cancelled",
        later: "cancelled",
        running: "doing",
        ended: "succeeded",
    }

    browser.find_element(By.LINK_TEXT, str(failed)).click()
    page = browser.find_element(By.ID, "content").text
    for event in ("deferred", "started", "failed", "retried"):
        assert f"Job {failed}: {event} at" in page
    assert not browser.find_elements(By.CSS_SELECTOR, "#content-main input[type=text]")
    keep_screenshot(browser, "admin-job")


def keep_screenshot(browser: webdriver.Chrome, name: str) -> None:
    directory = os.environ.get(SCREENSHOTS)
    if directory:
        picture = browser.get_screenshot_as_png()
        (pathlib.Path(directory) / f"{name}.png").write_bytes(picture)
