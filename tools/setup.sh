#!/bin/sh
# Makes the development environment. Called by make, with PYTHON and VENV set.
set -eu

[ -n "${PYTHON:-}" ] || { echo 'There is no Python >= 3.11 on the path.' >&2; exit 1; }
export PIP_DISABLE_PIP_VERSION_CHECK=1
mkdir -p .cache

echo "Setting up $VENV with $("$PYTHON" --version); this downloads packages, once."
if [ ! -x "$VENV/bin/python" ]; then
    if "$PYTHON" -c 'import venv, ensurepip' 2>/dev/null; then
        "$PYTHON" -m venv "$VENV"
    else  # as some distributions ship it
        "$PYTHON" -m pip install -qq --target .cache/virtualenv virtualenv
        PYTHONPATH=.cache/virtualenv "$PYTHON" -m virtualenv -q "$VENV"
    fi
fi
"$VENV/bin/python" -m pip install -qq --editable '.[dev]'

# The rest is what the tests would download: with it, they need no network any more.
# What the wheel needs where it is installed:
"$VENV/bin/python" - > .cache/requirements.txt <<'EOF'
import pathlib, tomllib
project = tomllib.loads(pathlib.Path("pyproject.toml").read_text())["project"]
print(*project["dependencies"], "psycopg[binary]", sep="\n")
EOF
rm -rf "$VENV/wheels"
"$VENV/bin/python" -m pip wheel -qq --wheel-dir "$VENV/wheels" --requirement .cache/requirements.txt

# pgTAP and plpgsql_check; without them their tests are skipped, and say so. The Perl package
# has pg_prove.
"$VENV/bin/python" -m tools.pgtap > /dev/null || true
"$VENV/bin/python" -m tools.debian libtap-parser-sourcehandler-pgtap-perl \
    'postgresql-(\d+)-plpgsql-check' > /dev/null || true

# procrastinate 3.10, the old half of a mixed fleet; without it those tests are skipped.
"$VENV/bin/python" -m tools.upstream > /dev/null || true

touch "$VENV/.ready"
