"""The app of the project, which tasks can be given to before Django is ready."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NoReturn, cast

from procrastinate import blueprints
from procrastinate.contrib.django import exceptions

if TYPE_CHECKING:
    from procrastinate import app as app_module
    from procrastinate.contrib.django import db_cleanup

_NOT_READY = """\
Cannot call procrastinate.contrib.app.{name}() before the 'procrastinate.contrib.django' \
django app is ready.

If this message appears at import time, the app is not ready yet: move the corresponding code \
in an app's `AppConfig.ready()` method. If this message appears in an app's \
`AppConfig.ready()` method, make sure `"procrastinate.contrib.django"` appears before that app \
when ordering apps in the Django setting `INSTALLED_APPS`. Alternatively, use the Django \
setting PROCRASTINATE_ON_APP_READY (see the doc)."""


def _not_ready(name: str, *args: Any, **kwargs: Any) -> NoReturn:
    raise exceptions.DjangoNotReady(_NOT_READY.format(name=name))


def _refuse(name: str) -> Any:
    return staticmethod(functools.partial(_not_ready, name))


class FutureApp(blueprints.Blueprint):
    """
    What the app is until Django is ready: a blueprint. All else says that it is too early.
    """

    __enter__: Any = _refuse("__enter__")
    __exit__: Any = _refuse("__exit__")
    check_connection: Any = _refuse("check_connection")
    check_connection_async: Any = _refuse("check_connection_async")
    close: Any = _refuse("close")
    close_async: Any = _refuse("close_async")
    configure_task: Any = _refuse("configure_task")
    open: Any = _refuse("open")
    open_async: Any = _refuse("open_async")
    perform_import_paths: Any = _refuse("perform_import_paths")
    replace_connector: Any = _refuse("replace_connector")
    run_worker: Any = _refuse("run_worker")
    run_worker_async: Any = _refuse("run_worker_async")
    schema_manager: Any = _refuse("schema_manager")
    will_configure_task: Any = _refuse("will_configure_task")
    with_connector: Any = _refuse("with_connector")


class ProxyApp:
    """
    Stands for `current_app`, whichever that is, so that it can be imported at any time.
    """

    def __repr__(self) -> str:
        """Show the app that this stands for."""
        return repr(current_app)

    def __getattr__(self, name: str) -> Any:
        """Return what the app that this stands for has."""
        return getattr(current_app, name)


#: A :class:`FutureApp` until Django is ready, then the project's app.
current_app: app_module.App | FutureApp = FutureApp()

app: db_cleanup.DjangoApp = cast("db_cleanup.DjangoApp", ProxyApp())
