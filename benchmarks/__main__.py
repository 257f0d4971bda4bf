from __future__ import annotations

import sys

from benchmarks import engine

sys.exit(engine.main())
