"""The scripts of `make check` refuse what they are there to refuse, and nothing else."""

from __future__ import annotations

import pytest

from tools import hygiene, sql_style

BODY = "create function f() returns void language plpgsql as $$\nbegin\n    {}\nend;\n$$;\n"


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        ("UPDATE procrastinate_jobs set a = 1;", "a capital outside of strings and comments"),
        ("perform\t1;", "a tab"),
        ("perform 1; ", "a blank at the end"),
        (f"perform '{'x' * 92}';", "107 columns, 92 at most"),
        ("perform * from (select * from t) as x;", "select * (name the columns)"),
        ("insert into t values (1);", "insert without columns"),
    ],
)
def test_a_body_is_held_to_the_house_style(statement: str, complaint: str) -> None:
    assert set(sql_style.complaints(BODY.format(statement))) == {(3, complaint)}


@pytest.mark.parametrize(
    "statement",
    [
        "raise exception 'Job % is not held' using hint = 'Say \"Please\"';",
        "perform 1;  -- NOTIFY waits",
        "select count(*) into v_count from t;",
        "insert into t (a) values (1);",
        'perform "Quoted" from t;',
    ],
)
def test_strings_names_and_comments_may_say_what_they_like(statement: str) -> None:
    assert not list(sql_style.complaints(BODY.format(statement)))


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        ("see /" + "work/somewhere", True),
        ("see /" + "home/me", True),
        ("https://py" + "pi.org/simple", True),
        ("see /usr/lib/postgresql", False),
        ("our work/home is ./root/x", False),
    ],
)
def test_a_path_or_host_of_one_machine_is_refused(line: str, refused: bool) -> None:
    assert any(pattern.search(line) for pattern in hygiene.REFUSED.values()) is refused


def test_the_length_of_a_module_is_that_of_its_code() -> None:
    module = """\
'''
What it is.
'''

class Thing:
    'A line.'

    async def run(self):
        '''
        Two
        lines.
        '''
        return '''no
        docstring'''
"""
    assert hygiene.length(module) == 6
