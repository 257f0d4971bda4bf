#!/bin/sh
# Makes the development environment. Called by make, with PYTHON and VENV set.
set -eu

[ -n "${PYTHON:-}" ] || { echo 'No Python >= 3.11 (with venv and ensurepip) on the path.' >&2; exit 1; }

echo "Setting up $VENV with $("$PYTHON" --version), once; this downloads packages."
[ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV"
export PIP_DISABLE_PIP_VERSION_CHECK=1
"$VENV/bin/python" -m pip install -qq --editable '.[dev]'

# What the wheel test installs, kept here so that it needs no network afterwards.
rm -rf .cache/wheels
"$VENV/bin/python" -m pip wheel -qq --wheel-dir .cache/wheels \
    'attrs' 'croniter' 'psycopg[pool,binary]' 'psycopg-pool' 'hatchling>=1.26'

touch "$VENV/.ready"
