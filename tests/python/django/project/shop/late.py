"""Tasks and a callback that only some tests let the project find."""

from __future__ import annotations

from typing import TYPE_CHECKING

from procrastinate.contrib import django

if TYPE_CHECKING:
    from procrastinate import App

SEEN: list[App] = []


def on_app_ready(app: App) -> None:
    """Remember the app that was ready."""
    SEEN.append(app)


@django.app.task(name="late")
def late() -> None:
    """Do nothing."""
