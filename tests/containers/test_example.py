"""The README's example, as a user runs it: in a terminal, ended with Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

from support.stream import Stream, name_of
from support.terminal import Terminal
from support.waiting import wait_until

from .conftest import _require_program

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/leaky-container"
LEAKED = 100


def test_leaky_container_in_a_terminal(host: None, tmp_path: Path) -> None:
    _require_program("runc", "runc")
    bundles = {"TMPDIR": str(tmp_path)}
    with Stream() as stream, Terminal([str(EXAMPLE)], environment=bundles) as terminal:
        terminal.wait_for(lambda output: b"leaks 50 threads a second" in output, "its greeting")
        found = re.search(rb"container ([0-9a-f]{12})", terminal.output)
        assert found is not None
        container_id = found[1].decode()

        def leaks() -> bool:
            return any(
                name_of(event) == "threadtrace.workload.rates"
                and event.get("container", {}).get("id", "").startswith(container_id)
                and event["threadtrace"]["tasks_count"] >= LEAKED
                for event in stream.events
            )

        stream.wait_until(leaks, f"{LEAKED} threads in {container_id}")
        terminal.press(b"\x03")
        assert terminal.process.wait(15) in (128 + signal.SIGINT, -signal.SIGINT)
        wait_until(lambda: not os.listdir(tmp_path), 15, "the bundle is removed")
        stream.wait_for(
            lambda event: (
                name_of(event) == "threadtrace.workload.ended"
                and event.get("container", {}).get("id", "").startswith(container_id)
            )
        )
