"""A terminal that does not know its size, as of a serial line or a container's first moments."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.stream import THREADTRACE
from support.terminal import Terminal

RECORDING = Path(__file__).parents[1] / "data" / "pids-max-of-parent.jsonl.gz"


@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (40, 0), (0, 120)])
def test_it_is_drawn_once_and_listens(rows: int, columns: int) -> None:
    command = [*THREADTRACE, "top", "--replay", str(RECORDING)]
    with Terminal(command, rows, columns) as terminal:
        terminal.wait_for(lambda output: b"WORKLOAD" in output, "a table")
        terminal.press(b"?")
        terminal.wait_for(lambda output: b"MOVE" in output, "the keys")
