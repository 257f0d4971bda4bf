"""A call is a value: its statement, its arguments as PostgreSQL reads them, its result."""

from __future__ import annotations

import datetime
import json
from typing import Any

import psycopg
import pytest

from procrastinate import exceptions, jobs, types
from procrastinate.rpc import decode, values, wire
from procrastinate.rpc.call import Call, Function, encode_argument

UTC = datetime.UTC
MOMENT = datetime.datetime(2026, 11, 23, 18, 30, 5, 250, tzinfo=UTC)


def test_the_statement_names_each_argument_and_its_type() -> None:
    function = Function(
        name="f", arguments={"p_a": "bigint", "p_b": "text[]"}, columns=("x", "y")
    )

    assert function.text == (
        "select x, y from f(p_a => %(p_a)s::bigint, p_b => %(p_b)s::text[])"
    )


def test_a_function_without_columns_returns_what_it_returns() -> None:
    assert Function(name="f").text == "select * from f()"


def test_a_query_that_is_no_function_is_sent_as_it_is() -> None:
    assert Function(name="q", body="select 1").text == "select 1"


def test_a_call_encodes_its_arguments_by_name_in_the_functions_order() -> None:
    function = Function(name="f", arguments={"p_a": "bigint", "p_b": "jsonb"})
    call = Call(function=function, args={"p_b": {"x": 1}, "p_a": 7}, decode=decode.one)

    assert list(call.encode().items()) == [("p_a", "7"), ("p_b", '{"x": 1}')]


def test_json_is_written_by_the_function_given_be_it_to_bytes() -> None:
    call = Call(
        function=Function(name="f", arguments={"p_a": "jsonb", "p_b": "jsonb[]"}),
        args={"p_a": {"x": {1, 2}}, "p_b": [{"x": {1}}]},
        decode=decode.one,
    )

    encoded = call.encode(lambda value: json.dumps(value, default=list).encode())

    assert encoded == {"p_a": '{"x": [1, 2]}', "p_b": '{"{\\"x\\": [1]}"}'}


def test_what_json_cannot_say_is_a_plain_type_error() -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        encode_argument("jsonb", {"x": object()})


@pytest.mark.parametrize(
    ("sql_type", "value"),
    [
        ("bigint", 2**40),
        ("integer", -3),
        ("boolean", True),
        ("boolean", False),
        ("text", 'quotes " and \\ and , and {}'),
        ("text", ""),
        ("text", None),
        ("double precision", 0.1),
        ("timestamp with time zone", MOMENT),
        ("interval", datetime.timedelta(days=-400, microseconds=1)),
        ("jsonb", {"a": [1, None, 'ü"\\', {"b": 1.5}]}),
        ("bigint[]", [1, None, -(2**50)]),
        ("bigint[]", []),
        ("boolean[]", [True, False, None]),
        ("integer[]", None),
        ("text[]", ["a", 'b"c', "d\\e", "", "null", "NULL", None, "{f},g", "h\ni"]),
        ("timestamp with time zone[]", [MOMENT, None]),
        ("jsonb[]", [{"a": 'x"y\\z'}, {}]),
    ],
)
def test_postgresql_reads_back_the_value_that_was_written(
    conn: psycopg.Connection, sql_type: str, value: Any
) -> None:
    text: Any = f"select %s::{sql_type}"

    row = conn.execute(text, [encode_argument(sql_type, value)]).fetchone()

    assert row == (value,)


def test_values_that_are_no_text_are_stored_as_their_text() -> None:
    assert encode_argument("text", 5) == "5"
    assert encode_argument("text[]", [5, None]) == '{"5",NULL}'


def test_a_status_is_written_as_its_value() -> None:
    assert encode_argument("procrastinate_job_status", jobs.Status.DOING) == "doing"
    assert (
        encode_argument("procrastinate_job_status[]", [jobs.Status.TODO, "failed"])
        == '{"todo","failed"}'
    )


def test_jobs_to_defer_are_read_back_field_by_field(conn: psycopg.Connection) -> None:
    job = types.JobToDefer(
        queue_name='q"(,)',
        task_name="t\\",
        priority=-4,
        lock=None,
        queueing_lock="",
        args={"a": 'b"c\\'},
        scheduled_at=MOMENT,
    )
    encoded = encode_argument("procrastinate_job_to_defer_v1[]", [job])

    row = conn.execute(
        "select x.* from unnest(%s::procrastinate_job_to_defer_v1[]) as x", [encoded]
    ).fetchone()

    assert row == tuple(job)


def test_a_result_that_needs_a_row_says_when_there_is_none() -> None:
    with pytest.raises(exceptions.NoResult):
        decode.one([])
    assert decode.one([(3,)]) == 3


def test_columns_and_nothing_are_read() -> None:
    assert decode.column([(1,), (2,)]) == [1, 2]
    decode.nothing([("",)])


@pytest.mark.parametrize(("contended", "more"), [(True, False), (False, True)])
def test_the_answer_of_an_exchange_is_read_column_by_column(
    contended: bool, more: bool
) -> None:
    call = wire.finish_and_fetch_v1(worker_id=9, queues=None, limit=1, marks=None, ends=[])
    nothing = (None,) * 5
    claimed = ("claimed", 1, 2, "doing", "q", "t", 3, "l", "ql", {"a": 1}, MOMENT, 4, True)
    not_held = ("not_held", 5, 6, "failed", *(None,) * 9)
    summary = ("summary", *(None,) * 12, 0.5, contended, more, [7, 8], None)

    answer = call.decode([(*claimed, *nothing), (*not_held, *nothing), summary])

    job = jobs.Job(
        id=1,
        status="doing",
        queue="q",
        priority=3,
        lock="l",
        queueing_lock="ql",
        task_name="t",
        task_kwargs={"a": 1},
        scheduled_at=MOMENT,
        attempts=4,
        abort_requested=True,
        worker_id=9,
    )
    assert answer == values.Exchange(
        too_large=[],
        claimed=[values.ClaimedJob(job, 2)],
        not_held=[values.EndNotHeld(job_id=5, claim_id=6, status="failed")],
        next_due_in=0.5,
        contended=contended,
        more=more,
        marks=[7, 8],
    )


@pytest.mark.parametrize(
    ("call", "row", "result"),
    [
        (
            wire.heartbeat_v1(worker_id=9),
            (1, 2, True),
            [values.HeldJob(job_id=1, claim_id=2, abort_requested=True)],
        ),
        (
            wire.list_writers_v1(),
            (1, "3/4"),
            frozenset({values.Writer(pid=1, virtual_transaction="3/4")}),
        ),
        (wire.sweep_v1(), (1, 2), values.Sweep(promoted=1, unlinked=2)),
        (
            wire.retire_jobs_v1(older_than=datetime.timedelta(days=1)),
            (1, 2),
            values.Retired(retired=1, next_id=2),
        ),
    ],
    ids=["heartbeat", "writers", "sweep", "retire"],
)
def test_a_row_of_an_answer_is_read_column_by_column(
    call: Call[Any], row: tuple[Any, ...], result: Any
) -> None:
    assert call.decode([row]) == result


@pytest.mark.parametrize(
    ("filters", "narrows"),
    [
        (values.Filters(), False),
        (values.Filters(status="failed"), False),
        (values.Filters(all_jobs=True), True),
        (values.Filters(queue_name="q", status="failed"), True),
        (values.Filters(job_ids=[]), True),
    ],
    ids=["none", "status", "all", "queue", "no ids"],
)
def test_the_status_alone_does_not_narrow_a_call_for_many(
    filters: values.Filters, narrows: bool
) -> None:
    assert filters.narrows is narrows
