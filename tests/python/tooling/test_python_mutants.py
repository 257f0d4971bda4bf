"""The mutants of a Python module are single changes, and can be put into what lives."""

from __future__ import annotations

import importlib.util
import io
import os
import pathlib
import runpy
import time
from collections.abc import Callable

import pytest

from tools import mutate_python, python_mutants

MODULE = '''\
"""A module: 1 and 2."""

LIMIT = 3


class Counter:
    """Not what it does."""

    def step(self, value: int = 4) -> int:
        """Add 5."""
        if value > 6 and not value == 7:
            print("many", end="")
        for one in range(8):
            continue
        return max(value, 9) + 10


def entries() -> dict[str, int]:
    return {"first": 11}
'''


@pytest.mark.parametrize(
    "change",
    [
        "condition: value > 6 and (not value == 7) -> not so",
        "value > 6 and (not value == 7): and -> or",
        "value > 6: Gt -> GtE",
        "value == 7: Eq -> NotEq",
        "not value == 7 -> without not",
        "6 -> 7",
        "'many' -> 'XXmany'",
        "argument end='' -> left out",
        "print('many', end='') -> pass",
        "continue -> break",
        "max -> min",
        "max(value, 9) + 10: Add -> Sub",
        "return max(value, 9) + 10 -> return None",
        "entry 'first' -> left out",
    ],
)
def test_one_thing_is_changed(change: str) -> None:
    assert change in {mutant.what for mutant in python_mutants.mutants(MODULE)}


def test_what_is_said_once_at_import_and_words_for_people_stay() -> None:
    changed = " ".join(mutant.what for mutant in python_mutants.mutants(MODULE))
    assert "Add 5" not in changed
    assert "Not what it does" not in changed
    assert "3 -> 4" not in changed
    assert "4 -> 5" not in changed


def test_each_mutant_is_another_text_and_leaves_the_module_as_it_was() -> None:
    mutants = list(python_mutants.mutants(MODULE))
    texts = [mutant.text for mutant in mutants]
    assert len(set(texts)) == len(texts)
    for mutant in mutants:
        mutant.code("module.py")
    assert [mutant.text for mutant in python_mutants.mutants(MODULE)] == texts


def test_a_return_of_none_is_left_as_it_is() -> None:
    assert list(python_mutants.mutants("def f():\n    return None\n")) == []


def test_a_condition_is_changed_where_its_statement_begins_not_in_its_body() -> None:
    (mutant,) = [m for m in python_mutants.mutants(MODULE) if m.what == "6 -> 7"]
    assert mutant.lines == range(11, 12)


def test_a_mutant_is_put_into_the_functions_that_live(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "counted.py"
    path.write_text(MODULE)
    spec = importlib.util.spec_from_file_location("counted", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    entries: Callable[[], dict[str, int]] = module.entries
    (mutant,) = [m for m in python_mutants.mutants(MODULE) if m.what == "11 -> 12"]
    assert mutate_python.put(mutant, path)
    assert entries() == {"first": 12}


def test_what_a_function_has_cached_is_forgotten_when_a_mutant_is_put_into_it(
    tmp_path: pathlib.Path,
) -> None:
    path = tmp_path / "cached.py"
    path.write_text(
        "import functools\n\n@functools.cache\ndef answer() -> int:\n    return 41\n"
    )
    module = runpy.run_path(str(path))
    assert module["answer"]() == 41
    (mutant,) = [m for m in python_mutants.mutants(path.read_text()) if m.what == "41 -> 42"]
    assert mutate_python.put(mutant, path)
    assert module["answer"]() == 42


def test_a_name_that_is_not_bound_any_more_is_refused(tmp_path: pathlib.Path) -> None:
    text = (
        "def f():\n    x = 1\n    def g():\n        nonlocal x\n        x = 2\n    return g\n"
    )
    path = tmp_path / "unbound.py"
    (mutant,) = [m for m in python_mutants.mutants(text) if m.what == "x = 1 -> pass"]
    assert not mutate_python.put(mutant, path)


def test_a_child_says_what_it_found_and_ends() -> None:
    assert mutate_python.forked(lambda say: say("the test that failed"), 60) == (
        "the test that failed"
    )


def test_a_child_that_raises_has_died() -> None:
    def task(say: Callable[[str], None]) -> None:
        raise KeyboardInterrupt

    assert mutate_python.forked(task, 60) == f"{mutate_python.DIED}: KeyboardInterrupt()"


def test_a_child_that_is_killed_has_died() -> None:
    def task(say: Callable[[str], None]) -> None:
        os.kill(os.getpid(), 9)

    assert mutate_python.forked(task, 60) == mutate_python.DIED


def test_a_child_that_is_killed_after_a_test_that_passed_has_died() -> None:
    def task(say: Callable[[str], None]) -> None:
        say(mutate_python.GOES_ON)
        os.kill(os.getpid(), 9)

    assert mutate_python.forked(task, 60) == mutate_python.DIED


def test_that_tests_passed_is_no_part_of_what_a_child_found() -> None:
    def task(say: Callable[[str], None]) -> None:
        say(mutate_python.GOES_ON + mutate_python.GOES_ON + "the third test")

    assert mutate_python.forked(task, 60) == "the third test"


def test_a_child_that_loops_for_ever_is_stopped() -> None:
    def task(say: Callable[[str], None]) -> None:
        while True:
            pass

    begun = time.monotonic()
    assert mutate_python.forked(task, 0.1) == mutate_python.LOOPED
    assert time.monotonic() - begun < 30


def test_the_last_word_about_a_mutant_counts_and_survivors_are_told(
    tmp_path: pathlib.Path,
) -> None:
    told = io.StringIO()
    records = mutate_python.Records(tmp_path / "kept" / "mutants.jsonl", told)
    for by in (mutate_python.SURVIVED, "tests/test_it.py::test_that"):
        records.keep(mutate_python.Verdict("a.py", 1, "1 -> 2", "def f(): ...", by))
    (verdict,) = records.known().values()
    assert verdict.by == "tests/test_it.py::test_that"
    assert told.getvalue() == "a.py:1: 1 -> 2 (survived)\n"
