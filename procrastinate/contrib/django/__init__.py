"""The queue of a Django project: an app, settings, models, admin and a command."""

from __future__ import annotations

from procrastinate.contrib.django.db_cleanup import DjangoApp
from procrastinate.contrib.django.procrastinate_app import app
from procrastinate.contrib.django.utils import connector_params

__all__ = ["DjangoApp", "app", "connector_params"]
