"""Between what finds and what shows: outputs take snapshots, feeds give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from threadtrace.model.details import ProcessInspection, WorkloadDetails
from threadtrace.model.snapshot import Happenings, Snapshot


class Output(Protocol):
    """Something that shows or sends what the agent finds."""

    def on_happenings(self, happened: Happenings) -> None:
        """Workloads appeared, clones were refused."""

    def on_snapshot(self, snapshot: Snapshot) -> None:
        """A tick."""


class About(NamedTuple):
    """Who speaks, as ``threadtrace.started`` tells; empty where a recording does not hold it."""

    node: str = ""
    """Name of the node or host."""
    version: str = ""
    """Of the threadtrace that counts."""
    kernel_release: str = ""
    hooks: Sequence[Mapping[str, str]] = ()
    """Of each program: program, kind, target, reason."""
    missing: Sequence[Mapping[str, str]] = ()
    """What this agent cannot see: what, effect, remedy."""
    counts_births: bool = True
    """Whether births and exits are: not where no kernel program could be attached."""
    counts_refusals: bool = True
    interval_seconds: float | None = None


class FeedOutput(Output, Protocol):
    """Takes what a feed tells."""

    def on_start(self, about: About) -> None:
        """Another run of an agent begins: nothing of the one before holds any more."""


class Feed(Protocol):
    """A source of snapshots. All calls are made from one event loop, and none blocks for long."""

    async def run(self, output: FeedOutput) -> None:
        """Tell the output everything until there is no more, or until cancelled.

        Raises:
            ThreadtraceError: the source cannot be used (any more), with the remedy.
        """

    async def inspect_workload(self, key: str) -> WorkloadDetails | None:
        """Look closer at a workload; None where it is gone or nothing is known of it."""

    async def inspect_process(self, pid: int) -> ProcessInspection | None:
        """Look closer at a process; None where it is gone or nothing is known of it."""
