"""The settings of a project, read whenever they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import conf
from django.core import exceptions

if TYPE_CHECKING:
    from procrastinate.app import WorkerOptions

PREFIX = "PROCRASTINATE_"


class BaseSettings:
    """Attributes whose values are the project's, or else the defaults given here."""

    def __getattribute__(self, name: str) -> Any:
        """Return what the project's settings say, or the default."""
        default = super().__getattribute__(name)
        if not name.isupper():
            return default
        return getattr(conf.settings, f"{PREFIX}{name}", default)


class Settings(BaseSettings):
    """What a project can set, each under its name with ``PROCRASTINATE_`` before it."""

    ON_APP_READY: str | None = None
    AUTODISCOVER_MODULE_NAME: str = "tasks"
    IMPORT_PATHS: list[str] = []
    DATABASE_ALIAS: str = "default"
    WORKER_DEFAULTS: WorkerOptions | None = None
    PERIODIC_DEFAULTS: dict[str, str] | None = None
    READONLY_MODELS: bool = True


def import_paths() -> list[str]:
    """
    Return the modules that ``PROCRASTINATE_IMPORT_PATHS`` names.

    Raises
    ------
    django.core.exceptions.ImproperlyConfigured
        It is one string, whose letters would be taken for modules.
    """
    value: Any = settings.IMPORT_PATHS
    if isinstance(value, str):
        raise exceptions.ImproperlyConfigured(
            f"PROCRASTINATE_IMPORT_PATHS must be a list of modules, not the string {value!r}"
        )
    return list(value)


settings: Settings = Settings()
