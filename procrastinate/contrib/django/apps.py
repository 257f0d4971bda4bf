"""What happens when Django starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from django import apps
from django.utils import module_loading

from procrastinate import exceptions
from procrastinate.contrib.django import (
    db_cleanup,
    django_connector,
    procrastinate_app,
    settings,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    import procrastinate


class ProcrastinateConfig(apps.AppConfig):
    """The Django app, to be named in ``INSTALLED_APPS``."""

    name = "procrastinate.contrib.django"
    label = "procrastinate"

    @property
    def app(self) -> procrastinate.App:
        """The project's app."""
        return cast("procrastinate.App", procrastinate_app.current_app)

    def ready(self) -> None:
        """Make the app, find the tasks, and tell the project."""
        procrastinate_app.current_app = create_app(blueprint=procrastinate_app.current_app)
        module_name: str | None = settings.settings.AUTODISCOVER_MODULE_NAME
        if module_name:
            module_loading.autodiscover_modules(module_name)
        on_app_ready = settings.settings.ON_APP_READY
        if on_app_ready:
            module_loading.import_string(on_app_ready)(procrastinate_app.current_app)


def get_import_paths() -> Iterable[str]:
    """Yield the modules to import when tasks are needed, and not before."""
    yield from settings.import_paths()


def create_app(blueprint: procrastinate.Blueprint) -> procrastinate.App:
    """
    Make the project's app, with the tasks that a blueprint was given meanwhile.

    Unlike `App.add_tasks_from`, this leaves the tasks their names.
    """
    app = db_cleanup.DjangoApp(
        connector=django_connector.DjangoConnector(alias=settings.settings.DATABASE_ALIAS),
        import_paths=list(get_import_paths()),
        worker_defaults=settings.settings.WORKER_DEFAULTS,
        periodic_defaults=settings.settings.PERIODIC_DEFAULTS,
    )
    for name, task in blueprint.tasks.items():
        if name in app.tasks:
            raise exceptions.TaskAlreadyRegistered(
                f"A task named {name} was already registered"
            )
        task.blueprint = app
    app.tasks.update(blueprint.tasks)
    app.periodic_registry.periodic_tasks.update(blueprint.periodic_registry.periodic_tasks)
    return app
