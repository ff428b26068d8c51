"""What the node agent withstands: ``python -m bench.reliability`` writes docs/reliability.md."""

from __future__ import annotations

import sys
from pathlib import Path

# The containers, log shippers and Prometheus of the scenes are those of the tests.
_TESTS = str(Path(__file__).parents[2] / "tests")
if _TESTS not in sys.path:
    sys.path.append(_TESTS)
