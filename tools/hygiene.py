"""What no file of this repository may hold: paths of one machine, hosts of a registry."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).parent.parent

# Written so that this file does not hold them either.
REFUSED = {
    "a path of one machine": re.compile(r"(?<![\w.])/(?:work|root|home|Users)/[A-Za-z.]"),
    "the host of a registry": re.compile(
        r"\b(?:pypi[.]org|pythonhosted[.]org|npmjs[.]org|deb[.]debian[.]org|test[.]pypi)\b"
    ),
}


def tracked() -> list[str]:
    """The files of the repository, with those about to be added."""
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return sorted(filter(None, done.stdout.split("\0")))  # none outside of a clone


def main() -> int:
    found = 0
    for name in tracked():
        try:
            lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        except (FileNotFoundError, UnicodeDecodeError):
            continue
        for number, line in enumerate(lines, 1):
            for what, pattern in REFUSED.items():
                if pattern.search(line):
                    print(f"{name}:{number}: {what}")
                    found += 1
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
