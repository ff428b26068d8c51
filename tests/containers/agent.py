"""A running `threadtrace stream` on a node with containers; a container is told by its cgroup."""

from __future__ import annotations

import signal
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType

from support.stream import Event, Stream, name_of, path_of

STARTED, ENDED = "workload.started", "workload.ended"

_NS = 1_000_000_000


class Agent(Stream):
    """An agent that reads the runtimes' files below `host_root`.

    >>> with Agent(node.hostroot) as agent:
    ...     agent.wait_for_one("workload.started", container.cgroup_path)
    ...     agent.settle()
    ...     agent.total(container.cgroup_path, "threads_created_count")

    Leaving ends it, and checks every event it told, unless the test has failed already.
    """

    def __init__(self, host_root: Path, *arguments: str, interval_seconds: float = 0.1) -> None:
        super().__init__(
            *("--host-root", str(host_root)),
            *arguments,
            interval_seconds=interval_seconds,
            environment={"NODE_NAME": ""},  # it would be a part of `k8s`
        )

    def __enter__(self) -> Agent:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None and self.is_running():
                self.finish()
        finally:
            super().__exit__(kind, value, traceback)

    def crash(self) -> None:
        """SIGKILL: no last tick, no clean-up of its own."""
        self.send(signal.SIGKILL)
        self.end()

    def of(self, name: str, path: str) -> list[Event]:
        """The events of that name, `threadtrace.` left out, of the cgroup with that path."""
        return [event for event in self.named(name) if path_of(event) == path]

    def total(self, path: str, field: str) -> int:
        """The sum of a count over all intervals so far."""
        return sum(event["threadtrace"][field] for event in self.rates(path))

    def last(self, path: str) -> Event:
        """The latest interval of the cgroup with that path."""
        return self.rates(path)[-1]

    def wait_for_one(self, name: str, path: str) -> Event:
        """The first event of that name of that cgroup, past ones included."""
        wanted = f"threadtrace.{name}"
        return self.wait_for(lambda event: path_of(event) == path and name_of(event) == wanted)

    def wait_for_rates(self, path: str, condition: Callable[[Event], bool]) -> Event:
        """The first interval of that cgroup, past ones included, of which this is true."""
        return self.wait_for(
            lambda event: (
                path_of(event) == path
                and name_of(event) == "threadtrace.workload.rates"
                and condition(event)
            )
        )

    def settle(self) -> None:
        """Return when all that happened before this call is told."""
        self.wait_for_ticks(1)


def time_ns_of(event: Event) -> int:
    """The time of an event, since the epoch."""
    seconds, _, fraction = event["timestamp"].removesuffix("Z").partition(".")
    whole = datetime.strptime(seconds, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    return int(whole.timestamp()) * _NS + int(fraction)
