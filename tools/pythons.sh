#!/bin/sh
# Prints the interpreters that run and are new enough, one of each minor version: those on the
# path, those of pyenv and of uv. A shim may exist and refuse.
set -u

ABOUT='import sys; v = sys.version_info; v >= (3, 11) and print("%d %s" % (v[1], sys.executable))'
for python in python3 python3.11 python3.12 python3.13 python3.14 python3.15 \
    "$HOME"/.pyenv/versions/*/bin/python "$HOME"/.local/share/uv/python/*/bin/python
do
    "$python" -c "$ABOUT" 2>/dev/null
done | sort -n -u -k 1,1 | cut -d ' ' -f 2-
