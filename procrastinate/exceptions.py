"""
Every exception that this package raises on purpose.

All derive from `ProcrastinateException`. What comes from a database is always a
`ConnectorException`; the driver's own error is its ``__cause__``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from procrastinate.retry import RetryDecision
    from procrastinate.rpc import values


class ProcrastinateException(Exception):  # noqa: N818  (3.x published the name)
    """
    Unexpected Procrastinate error.
    """

    def __init__(self, message: str | None = None) -> None:
        """
        Make an exception.

        Parameters
        ----------
        message
            What happened; by default, what the class says of itself.
        """
        # The docstring is the message, newlines and all: that is what 3.x showed, and the
        # command line prints it.
        super().__init__(message or self.__doc__)


class TaskNotFound(ProcrastinateException):
    """
    Task cannot be imported.
    """


class TaskAlreadyRegistered(ProcrastinateException):
    """
    A task with this name was already registered.
    """


class LoadFromPathError(ProcrastinateException, ImportError):
    """
    App was not found at the provided path, or the loaded object is not an App.
    """


class UnboundTaskError(ProcrastinateException):
    """
    The `Task` was used before it was bound to an `App`.
    If the task was defined on a `Blueprint`, ensure that you called
    `App.add_tasks_from` before deferring the task.
    """


class FunctionPathError(ProcrastinateException):
    """Couldn't automatically generate a unique name for a function"""


class CallerModuleUnknown(ProcrastinateException):
    """
    Unable to determine the module name of the caller.
    """


class MovedElsewhere(ProcrastinateException):
    """The object has been moved elsewhere"""


class RunTaskError(ProcrastinateException):
    """One of the specified coroutines ended with an exception"""


class MiddlewareKindMismatch(ProcrastinateException):
    """
    A sync task was given an async middleware (or vice versa). Sync tasks require
    sync middleware; async tasks require async middleware.
    """


class JobRetry(ProcrastinateException):
    """
    Job should be retried.
    """

    def __init__(self, retry_decision: RetryDecision) -> None:
        self.retry_decision = retry_decision
        super().__init__()


class JobAborted(ProcrastinateException):
    """
    Job was aborted.
    """


class AppNotOpen(ProcrastinateException):
    """
    App was not open. Procrastinate App needs to be opened using:

    - ``app.open()``,
    - ``await app.open_async()``,
    - ``with app.open():``,
    - ``async with app.open_async():``.
    """


class MissingApp(ProcrastinateException):
    """
    Missing app. This most probably happened because procrastinate needs an
    app via --app or the PROCRASTINATE_APP environment variable.
    """


class SyncConnectorConfigurationError(ProcrastinateException):
    """
    A synchronous connector was used, but the operation
    needs an asynchronous connector. Please check your App
    configuration.
    """


class AlreadyEnqueued(ProcrastinateException):
    """
    There is already a job waiting in the queue with the same queueing lock.
    """


class KeyInUse(AlreadyEnqueued):
    """
    There is already a job waiting or running with the same key.
    """


class JobFailed(ProcrastinateException):
    """
    The job whose result was asked for failed, was cancelled or was aborted. What its last
    run raised is in ``exception.error``, with the traceback of the worker; None if no error
    was stored.
    """

    def __init__(
        self, message: str | None = None, *, error: values.ErrorRecord | None = None
    ) -> None:
        """
        Make an exception.

        Parameters
        ----------
        message
            What happened, to which job.
        error
            What its last run raised.
        """
        super().__init__(message)
        self.error = error


class JobTimeout(JobFailed):
    """
    The job took longer than its timeout, or was not touched within its heartbeat.
    """


class ResultNotReady(ProcrastinateException):
    """
    The job whose result was asked for has not ended.
    """


class ResultExpired(ProcrastinateException):
    """
    The result of the job was stored, and its time is over.
    """


class ResultNotStored(ProcrastinateException):
    """
    The job ended, and its result was not stored: it was deferred without a ttl.
    """


class ResultTooLarge(ProcrastinateException):
    """
    The result is larger than what the database accepts.
    """


class InvalidTimestamp(ProcrastinateException):
    """
    Periodic task launched with a timestamp kwarg not matching the
    defer_timestamp arg
    """


class ConnectorException(ProcrastinateException):
    """
    Database error.
    """


class NoResult(ConnectorException):
    """
    No result was returned by the database query.
    """


class UniqueViolation(ConnectorException):
    """
    A unique constraint is violated. The constraint name is available in
    ``exception.constraint_name``.
    """

    def __init__(
        self,
        *args: Any,
        constraint_name: str | None,
        queueing_lock: str | None,
        key: str | None = None,
    ) -> None:
        super().__init__(*args)
        self.constraint_name = constraint_name
        self.queueing_lock = queueing_lock
        self.key = key


class DatabaseUnavailable(ConnectorException):
    """
    The database can't answer just now: it can't be reached, the connection broke,
    it is out of resources, or it cancelled the statement. Trying again may help.
    """


# What the database refuses with a code of our own: sql/sqlstates.md is their table.


class IllegalTransition(ConnectorException):
    """
    The job's status does not allow that change (PQ001).
    """


class JobNotFound(ConnectorException):
    """
    There is no job with that id (PQ002).
    """


class InvalidArgument(ConnectorException):
    """
    The database refused an argument: null, too long or malformed (PQ003).
    """


class WorkerNotRegistered(ConnectorException):
    """
    The worker's row is gone, most probably pruned as stalled. It may claim
    no job until it registers again (PQ004).
    """


class WrongIsolation(ConnectorException):
    """
    Jobs can't be fetched in REPEATABLE READ or stricter isolation (PQ005).
    """


class JobIdChange(ConnectorException):
    """
    The id of a job can't be changed (PQ006).
    """


class LocksBusy(DatabaseUnavailable):
    """
    A statement over very many locks could not get hold of them all. Nothing
    was changed; try again (PQ007).
    """


class SchemaMismatch(ConnectorException):
    """
    The database's schema and this version of procrastinate disagree (PQ008).
    """
