"""The harness itself, on toy tables: what it calls blocked, ended, stuck and possible is so."""

from __future__ import annotations

import psycopg
import pytest

from tests.python.races import harness, points, script


@pytest.fixture
def toy(stage: harness.Stage) -> harness.Stage:
    stage.look("create table toy (id integer primary key, n integer not null)")
    stage.look("insert into toy values (1, 0), (2, 0)")
    return stage


def test_a_statement_that_waits_for_a_row_is_seen_to_wait_and_to_end(
    toy: harness.Stage,
) -> None:
    a, b = toy.session("a"), toy.session("b")
    a.begin()
    a.run("update toy set n = 1 where id = 1")
    statement = b.start("update toy set n = n + 10 where id = 1 returning n")
    statement.assert_blocked()
    a.commit()
    assert statement.result() == [{"n": 11}]


def test_a_statement_that_ends_is_not_taken_for_one_that_waits(toy: harness.Stage) -> None:
    statement = toy.session("a").start("update toy set n = 1 where id = 1 returning n")
    with pytest.raises(harness.HarnessError, match="was expected to wait"):
        statement.assert_blocked()


def test_a_slow_statement_is_not_taken_for_one_that_waits(toy: harness.Stage) -> None:
    slow = "select count(*) as n from generate_series(1, 1000000)"
    assert toy.session("a").start(slow).result() == [{"n": 1_000_000}]


def test_an_error_is_the_statement_s_and_tells_its_sqlstate(toy: harness.Stage) -> None:
    statement = toy.session("a").start("insert into toy values (1, 1)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        statement.result()
    assert statement.sqlstate == "23505"


def test_a_result_that_never_comes_names_who_waits_for_whom(toy: harness.Stage) -> None:
    toy.session("a").run("begin")
    toy.session("a").run("select pg_advisory_xact_lock(1)")
    statement = toy.session("b").start("select pg_advisory_xact_lock(1)")
    with pytest.raises(harness.HarnessError, match=r"b waits for \['a'\]"):
        statement.result()
    toy.session("a").commit()
    statement.result()


def test_all_orders_of_two_and_two_and_one_steps_come_once_each() -> None:
    a = [script.Step("a", "a1"), script.Step("a", "a2")]
    b = [script.Step("b", "b1"), script.Step("b", "b2")]
    c = [script.Step("c", "c1")]
    orders = list(script.orders(a, b, c))
    assert len(orders) == len(set(orders)) == 30  # 5! / (2! 2! 1!)
    assert all(order.index(a[0]) < order.index(a[1]) for order in orders)
    assert all(order.index(b[0]) < order.index(b[1]) for order in orders)


def test_orders_in_which_a_waiting_session_would_have_to_go_on_are_left_out(
    toy: harness.Stage,
) -> None:
    update = "update toy set n = n + 1 where id = 1"
    lists = [
        [script.Step(name, "begin"), script.Step(name, update), script.Step(name, "commit")]
        for name in "ab"
    ]

    def setup() -> None:
        toy.look("update toy set n = 0")

    ran = list(script.permutations(toy, *lists, setup=setup))
    # of 20 orders, those with both updates before the first commit need the second to wait,
    # and then that session can't commit before the first one has
    assert 0 < len(ran) < 20
    assert any(run.waited for run in ran)
    assert any(not run.waited for run in ran)
    assert all(not run.sqlstates() for run in ran)
    assert toy.look_value("select n from toy where id = 1") == 2


def test_a_deadlock_is_reported_and_not_waited_for(toy: harness.Stage) -> None:
    def update(name: str, row: int) -> script.Step:
        return script.Step(name, f"update toy set n = 1 where id = {row}")

    begin = [script.Step(name, "begin") for name in "ab"]
    ran = script.play(
        toy, [*begin, update("a", 1), update("b", 2), update("a", 2), update("b", 1)]
    )
    assert ran.sqlstates() == ["40P01"]


POINTS = [
    ("begin\n  perform 1;\n  return;\nend", 2),
    ("declare a int := case when true then 1 else 2 end;\nbegin return a; end", 1),
    ("begin if a then perform 1; elsif b then perform 2; else perform 3; end if; end", 4),
    ("begin update t set x = case when y then 1 else 2 end; -- a; comment\n return; end", 2),
    ("begin for r in select 1 loop insert into t values ('x; y'); end loop; end", 2),
    ("begin <<l>> loop exit l when a; end loop; end", 2),
    ("begin merge into t using s on a when matched then update set x = 1; end", 1),
    ("begin begin perform 1; exception when others then null; end; end", 3),
    ("begin case a when 1 then perform 1; else perform 2; end case; end", 3),
    ("begin declare a int; b text := 'end'; begin perform 1; end; return; end", 2),
    ("begin execute $x$ select; 1; $x$; end", 1),
]


@pytest.mark.parametrize(("source", "count"), POINTS)
def test_the_points_of_a_body_are_its_statements(source: str, count: int) -> None:
    assert len(points.statement_starts(source)) == count


def test_a_statement_stops_at_the_point_asked_for_and_goes_on_when_let(
    stage: harness.Stage,
) -> None:
    stage.look("create table toy (n integer)")
    stage.look(
        """
        create function procrastinate_toy() returns integer language plpgsql volatile as $$
        declare
            v_before integer;
        begin
            select count(*) into v_before from toy;
            insert into toy values (0);
            update toy set n = 5 where n = 4;
            if found then
                raise exception 'a point has changed what was found';
            end if;
            return v_before * 100 + (select count(*) from toy);
        end $$
        """
    )
    points.instrument(stage.watcher)
    session = stage.session("a")
    gate = points.Gate(stage, session, number=1)
    seen: list[int] = []
    for point in range(1, 7):
        stage.look("truncate toy")
        gate.stop_at(point)
        statement = session.start("select procrastinate_toy() as n")
        stage.settle()
        assert statement.ended != gate.reached
        if point <= 5:
            assert gate.reached
        stage.session("b").run("insert into toy values (1)")
        gate.open()
        seen.append(statement.result()[0]["n"])
        place = gate.close()
        assert place.startswith("procrastinate_toy:") if point <= 5 else place == ""
    assert seen == [102, 2, 2, 2, 2, 1]


def test_a_session_that_was_not_told_to_stop_does_not(stage: harness.Stage) -> None:
    stage.look(
        "create function procrastinate_toy() returns integer language plpgsql volatile as"
        " $$ begin perform 1; return 1; end $$"
    )
    points.instrument(stage.watcher)
    assert stage.session("a").value("select procrastinate_toy()") == 1
