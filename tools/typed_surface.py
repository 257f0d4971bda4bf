"""
The types of all that is public are known, to whichever type checker: `pyright --verifytypes`.

A name without an annotation has the type that a checker makes up for it, and they differ.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

PACKAGE = "procrastinate"
ROOT = pathlib.Path(__file__).resolve().parent.parent

# What is built on classes that nobody types. An entry without such a name is an error, so that
# this list ends empty.
NOT_YET = (
    # whose bases Django does not type, and reads attributes off that are bare by custom
    *(
        f"{PACKAGE}.contrib.django.{module}"
        for module in ("admin.", "apps.", "management.", "migrations", "models.")
    ),
    f"{PACKAGE}.contrib.sphinx.ProcrastinateTaskDocumenter",  # Sphinx does not type its base
)


def report() -> dict[str, Any]:
    """Let pyright look at the package as somebody who has installed it does."""
    program = pathlib.Path(sys.executable).parent / "basedpyright"
    command = [str(program), "--verifytypes", PACKAGE, "--ignoreexternal", "--outputjson"]
    # From a directory of its own: what lies in the current one is no installed package. And by
    # PYTHONPATH: what an editable installation leaves in site-packages hides the source.
    with tempfile.TemporaryDirectory() as directory:
        done = subprocess.run(
            [*command, "--pythonpath", sys.executable],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=directory,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
    completeness: dict[str, Any] = json.loads(done.stdout)["typeCompleteness"]
    return completeness


def incomplete(completeness: dict[str, Any]) -> dict[str, str]:
    """The public names whose types are not known, and why not."""
    return {
        symbol["name"]: "; ".join(
            diagnostic["message"]
            for diagnostic in symbol["diagnostics"]
            if diagnostic["severity"] == "error"
        )
        for symbol in completeness["symbols"]
        if symbol["isExported"] and not symbol["isTypeKnown"]
    }


def main() -> int:
    completeness = report()
    if not completeness.get("pyTypedPath"):
        print(f"{PACKAGE} has no py.typed")
        return 1
    found = incomplete(completeness)
    unexpected = {
        name: why for name, why in sorted(found.items()) if not name.startswith(NOT_YET)
    }
    for name, why in unexpected.items():
        print(f"{name}: {why}")
    done = [entry for entry in NOT_YET if not any(name.startswith(entry) for name in found)]
    for entry in done:
        print(f"{entry} is complete: take it off the list of {pathlib.Path(__file__).name}")
    return bool(unexpected or done)


if __name__ == "__main__":
    raise SystemExit(main())
