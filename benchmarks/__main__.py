"""``python -m benchmarks``: a look at ours beside others; with names of cases, the engine's."""

from __future__ import annotations

import sys

from benchmarks import engine
from benchmarks.peers import __main__ as peers

named = any(argument in engine.CASES for argument in sys.argv[1:])
sys.exit(engine.main() if named else peers.main())
