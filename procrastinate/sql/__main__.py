"""
``python -m procrastinate.sql --read``: the schema on standard output, without the command line.
"""

from __future__ import annotations

import argparse
import sys

from procrastinate import migrations


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m procrastinate.sql")
    parser.add_argument("--read", action="store_true", required=True, help="print the schema")
    parser.parse_args()
    sys.stdout.write(migrations.one_file_schema())


main()
