"""The mutants of a file of SQL are single changes of what it does, and each is one of its own."""

from __future__ import annotations

import pathlib

import psycopg
import pytest

from tests.conftest import PATCH, Connect
from tools import mutants, mutate_sql

ROOT = pathlib.Path(__file__).parents[3]
FILE = """\
-- Not what it does: 1 and 2.
create function f(p_a bigint, p_b boolean default false)
returns bigint
language plpgsql volatile
as $$
begin
    if not p_b then  -- a reason and another
        return 1;
    end if;
    return (
        select coalesce(x.a, 0)
        from x
        where x.a = p_a and x.b between 3 and 4 and x.c is null
        order by x.a desc
        limit 1
        for no key update skip locked
    );
end;
$$;

comment on function f(bigint, boolean) is 'true and 1';
"""


def changes(text: str) -> set[str]:
    return {mutant.described(text) for mutant in mutants.mutants(text)}


@pytest.mark.parametrize(
    "change",
    [
        "default: false -> true",
        "not: not -> nothing",
        "condition: not p_b -> true",
        "statement: return 1 -> null",
        "number: 1 -> 2",
        "coalesce: , 0 -> nothing",
        "coalesce: x.a, -> nothing",
        "condition: x.a = p_a -> true",
        "swap: = -> <>",
        "swap: and -> or",
        "condition: and x.b between 3 and 4 -> nothing",
        "condition: and x.c is null -> nothing",
        "is: -> not",
        "clause: order by x.a desc -> nothing",
        "dropped: desc -> nothing",
        "clause: limit 1 -> nothing",
        "row lock: for no key update skip locked -> nothing",
        "row lock: skip locked -> nothing",
    ],
)
def test_each_kind_of_change_is_made(change: str) -> None:
    assert change in {" ".join(made.split()) for made in changes(FILE)}


def test_comments_stay_and_no_two_mutants_say_the_same() -> None:
    made = [mutant.applied(FILE) for mutant in mutants.mutants(FILE)]
    assert len(set(made)) == len(made)
    for text in made:
        assert text.startswith("-- Not what it does: 1 and 2.\n")
        assert text.endswith("is 'true and 1';\n")


def test_a_file_of_the_schema_can_be_run_again_over_itself(connect: Connect) -> None:
    for path in ("functions/front/now.sql", "triggers/jobs_truncated.sql", "views/stalled.sql"):
        text = (ROOT / "sql" / path).read_text()
        with connect(autocommit=False) as connection:
            connection.execute(mutate_sql.replacing(text).encode())
            connection.rollback()
            with pytest.raises(psycopg.errors.Error):  # as it stands it can't
                connection.execute(text.encode())


def test_a_run_of_the_tests_takes_its_mutant_from_the_variable_that_the_tool_sets() -> None:
    assert mutate_sql.PATCH == PATCH
