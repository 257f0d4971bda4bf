"""``python -m procrastinate``: the command line."""

from __future__ import annotations

from procrastinate import cli

if __name__ == "__main__":
    cli.main()
