"""`threadtrace stream` as a child process, its events read while it runs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

from .processes import wait_until

Event = dict[str, Any]

INTERVAL_SECONDS = 0.2
START_SECONDS = 30.0
STOP_SECONDS = 15.0

MAX_LINE_BYTES = 16 * 1024

_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_NS = 1_000_000_000


class Agent(contextlib.AbstractContextManager["Agent"]):
    """A running agent. Entering waits until it counts; leaving kills it if it still runs.

    >>> with Agent(hostroot, tmp_path) as agent:
    ...     agent.wait_for("threadtrace.workload.started", identifier)
    ...     agent.stop()
    ...     events = agent.rates(identifier)

    Its standard output is a file: it never waits for the test. Each line is checked to be one
    event, in sequence, of valid UTF-8 and under 16 KiB.
    """

    def __init__(self, host_root: Path, directory: Path, *options: str) -> None:
        self._host_root = host_root
        self._directory = directory
        self._options = options
        self._rest = b""
        self._count = 0
        self._events: dict[tuple[str, str | None], list[Event]] = {}
        self._last_lines: deque[bytes] = deque(maxlen=8)

    def __enter__(self) -> Agent:
        self._directory.mkdir(parents=True, exist_ok=True)
        output = self._directory / "events.jsonl"
        with output.open("wb") as out, (self._directory / "stderr.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "threadtrace", "stream"),
                    *("--host-root", str(self._host_root)),
                    *("--interval", str(INTERVAL_SECONDS)),
                    *self._options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                env=environment(),
            )
        self._file = output.open("rb")
        try:
            wait_until(lambda: self.named("threadtrace.started"), START_SECONDS, self._state)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The agent's process id."""
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL: no last tick, no clean-up of its own."""
        self._process.kill()
        self._process.wait(STOP_SECONDS)

    def stop(self) -> None:
        """End it as Ctrl-C does. What was counted until now is in its events."""
        self._process.send_signal(signal.SIGINT)
        code = self._process.wait(STOP_SECONDS)
        assert code == 130, f"ended with {code}: {self._state()}"
        self._read()
        assert self._rest == b""

    def close(self) -> None:
        """End it, however it is; does nothing the second time."""
        if self._process.poll() is None:
            self.kill()
        self._file.close()

    def named(self, name: str, container_id: str | None = None) -> list[Event]:
        """The events of that name so far: of that container, or those of no container."""
        self._read()
        return self._events.get((name, container_id), [])

    def rates(self, container_id: str) -> list[Event]:
        """All `threadtrace.workload.rates` of a container so far."""
        return self.named("threadtrace.workload.rates", container_id)

    def total(self, container_id: str, field: str) -> int:
        """The sum of a count over all intervals of a container so far."""
        return sum(event["threadtrace"][field] for event in self.rates(container_id))

    def wait_for(
        self, name: str, container_id: str | None = None, deadline_seconds: float = 10
    ) -> Event:
        """The first event of that name (see named), once it is there."""
        return wait_until(
            lambda: self.named(name, container_id),
            deadline_seconds,
            lambda: f"{name} of {container_id}; {self._state()}",
        )[0]

    def wait_rates(
        self,
        container_id: str,
        condition: Callable[[Event], bool],
        deadline_seconds: float = 10,
    ) -> Event:
        """The first interval of a container for which the condition holds, once it is there."""
        found = wait_until(
            lambda: [event for event in self.rates(container_id) if condition(event)],
            deadline_seconds,
            lambda: f"such an interval of {container_id}; {self._state()}",
        )
        return found[0]

    def settle(self, deadline_seconds: float = 10) -> None:
        """Return when all that happened before this call is told.

        The first tick that ends from now on may have read its counters before; the second has
        not, and the third's beginning says that the second is written whole.
        """
        now = time.time_ns()

        def ticks() -> int:
            limits = self.named("threadtrace.node.limits")
            return sum(1 for event in limits if time_ns_of(event) > now)

        wait_until(lambda: ticks() >= 3, deadline_seconds, lambda: f"ticks; {self._state()}")

    def _read(self) -> None:
        chunks = (self._rest + self._file.read()).split(b"\n")
        self._rest = chunks.pop()
        for line in chunks:
            assert len(line) + 1 < MAX_LINE_BYTES, f"{len(line)} bytes: {line[:300]!r}"
            assert not _CONTROL.search(line), line
            event = json.loads(line.decode("utf-8"))
            self._count += 1
            assert event["event"]["sequence"] == self._count
            key = event["event"]["name"], event.get("container", {}).get("id")
            self._events.setdefault(key, []).append(event)
            self._last_lines.append(line)

    def _state(self) -> str:
        said = (self._directory / "stderr.log").read_text(errors="replace")
        last = b"\n".join(self._last_lines).decode(errors="replace")
        return f"agent's exit code {self._process.poll()}, its stderr:\n{said}\nits last:\n{last}"


def environment() -> dict[str, str]:
    """This process's, without what would change the events."""
    return {name: text for name, text in os.environ.items() if name != "NODE_NAME"}


def time_ns_of(event: Event) -> int:
    """The time of an event, since the epoch."""
    seconds, _, fraction = event["timestamp"].removesuffix("Z").partition(".")
    assert len(fraction) == 9, event["timestamp"]
    whole = datetime.strptime(seconds, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    return int(whole.timestamp()) * _NS + int(fraction)
