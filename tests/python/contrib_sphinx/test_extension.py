"""A small Sphinx project documents its tasks as functions, without a warning."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

CONF = """\
extensions = ["sphinx.ext.autodoc", "procrastinate.contrib.sphinx"]
"""

TASKS = '''\
"""The garden's jobs."""

import procrastinate

app = procrastinate.App(connector=procrastinate.PsycopgConnector())


@app.task(queue="garden", retry=3)
def water(plant: str, litres: float = 1.5) -> None:
    """Water a plant."""


@app.task(pass_context=True)
async def dig(context, depth: int):
    """Dig a hole."""


@app.task
def undocumented():
    pass


def helper(number: int) -> int:
    """No task."""
    return number
'''

AUTOMODULE = """\
Garden
======

.. automodule:: garden
   :members:
"""

AUTOFUNCTION = """\
Garden
======

.. autofunction:: garden.water

.. autofunction:: garden.dig

.. autoprocrastinate_task:: garden.undocumented
"""


def build(directory: pathlib.Path, index: str) -> str:
    """What the project's only page says, as text."""
    source = directory / "source"
    source.mkdir()
    (source / "conf.py").write_text(CONF)
    (source / "garden.py").write_text(TASKS)
    (source / "index.rst").write_text(index)
    built = directory / "text"
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-b", "text", "-W", "-q", str(source), str(built)],
        env={**os.environ, "PYTHONPATH": str(source)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")
    return (built / "index.txt").read_text()


@pytest.fixture(scope="module")
def automodule(tmp_path_factory: pytest.TempPathFactory) -> str:
    return build(tmp_path_factory.mktemp("automodule"), AUTOMODULE)


def test_automodule_documents_tasks_with_their_own_signature_and_docstring(
    automodule: str,
) -> None:
    assert "garden.water(plant: str, litres: float = 1.5) -> None\n\n   Water a plant." in (
        automodule
    )


def test_a_task_that_is_given_its_context_shows_it(automodule: str) -> None:
    assert "garden.dig(context, depth: int)\n\n   Dig a hole." in automodule


def test_functions_are_documented_as_ever_and_tasks_without_a_docstring_are_not(
    automodule: str,
) -> None:
    assert "garden.helper(number: int) -> int\n\n   No task." in automodule
    assert "undocumented" not in automodule


def test_a_task_can_be_documented_by_name(tmp_path: pathlib.Path) -> None:
    page = build(tmp_path, AUTOFUNCTION)

    assert "garden.water(plant: str, litres: float = 1.5) -> None\n\n   Water a plant." in page
    assert "garden.dig(context, depth: int)\n\n   Dig a hole." in page
    assert "garden.undocumented()\n" in page
