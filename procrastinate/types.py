"""Types that several modules and the users' own annotations share."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, NotRequired, TypeAlias, TypedDict

if TYPE_CHECKING:
    import datetime

JSONValue: TypeAlias = (
    'dict[str, "JSONValue"] | list["JSONValue"] | str | int | float | bool | None'
)
"""What a job's argument may be: anything that JSON can say."""

JSONDict: TypeAlias = dict[str, JSONValue]
"""The keyword arguments of a job."""


class TimeDeltaParams(TypedDict):
    """The arguments of `datetime.timedelta`, as ``schedule_in`` takes them."""

    weeks: NotRequired[int]
    days: NotRequired[int]
    hours: NotRequired[int]
    minutes: NotRequired[int]
    seconds: NotRequired[int]
    milliseconds: NotRequired[int]
    microseconds: NotRequired[int]


class JobToDefer(NamedTuple):
    """One job of a batch, in the order of the fields of ``procrastinate_job_to_defer_v1``."""

    queue_name: str
    task_name: str
    priority: int
    lock: str | None
    queueing_lock: str | None
    args: JSONDict
    scheduled_at: datetime.datetime | None
