"""The event stream: snapshots in, lines out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Protocol

from threadtrace.delivery.buffer import Rank
from threadtrace.model.snapshot import Happenings, Loss, Snapshot
from threadtrace.output.events import EventWriter
from threadtrace.output.fields import Fields
from threadtrace.output.filters import EventFilter

# Lines of a tick that wait for each other: together half a megabyte.
_LINES_AT_ONCE = 512


class Sink(Protocol):
    """Takes lines."""

    def write(self, lines: list[bytes], rank: Rank) -> None:
        """Write them, or keep them, or count them as lost."""

    def take_lost(self) -> Mapping[str, int]:
        """How many were lost since the last call, by the name of the output."""


class EventStream:
    """Writes what the agent finds as events."""

    def __init__(
        self,
        writer: EventWriter,
        sink: Sink,
        include_idle: bool,
        admission: EventFilter | None = None,
    ) -> None:
        """A stream of one run.

        Args:
            writer: numbers the events.
            sink: takes the lines.
            include_idle: whether workloads without activity get a rates event too.
            admission: what the writer asks which events there are; it counts those too many.
        """
        self._writer = writer
        self._sink = sink
        self._include_idle = include_idle
        self._admission = admission

    def on_start(self, time_ns: int, details: Fields) -> None:
        """The agent counts."""
        self._write([self._writer.started(time_ns, details)], Rank.KEPT)

    def on_happenings(self, happened: Happenings) -> None:
        """Workloads appeared, clones were refused, threads explode."""
        writer = self._writer
        self._write(map(writer.workload_started, happened.started), Rank.COMINGS)
        self._write(map(writer.fork_refused, happened.refusals), Rank.KEPT)
        self._write(map(writer.explosion, happened.explosions), Rank.KEPT)

    def on_snapshot(self, snapshot: Snapshot) -> None:
        """A tick."""
        now, writer = snapshot.time_ns, self._writer
        seconds = snapshot.node.interval_seconds
        self._write([writer.node_limits(now, snapshot.node)], Rank.RATES)
        shown = (shot for shot in snapshot.workloads if shot.is_active or self._include_idle)
        self._write((writer.workload_rates(now, shot, seconds) for shot in shown), Rank.RATES)
        self._write(map(writer.fork_refused, snapshot.refusals), Rank.KEPT)
        self._write(map(writer.explosion, snapshot.explosions), Rank.KEPT)
        self._write(map(writer.workload_ended, snapshot.ended), Rank.COMINGS)
        self._tell_losses(now, [*snapshot.losses, *self._own_losses()])

    def on_end(self, time_ns: int) -> None:
        """After the last tick: what was lost of it."""
        self._tell_losses(time_ns, self._own_losses())

    def _own_losses(self) -> list[Loss]:
        losses = []
        for name, lost in self._sink.take_lost().items():
            losses.append(Loss("output", lost, name))
        excess = 0 if self._admission is None else self._admission.take_lost()
        if excess:
            losses.append(Loss("rate_limit", excess))
        return losses

    def _tell_losses(self, time_ns: int, losses: list[Loss]) -> None:
        self._write((self._writer.loss(time_ns, loss) for loss in losses), Rank.KEPT)

    def _write(self, lines: Iterable[bytes], rank: Rank) -> None:
        admitted = filter(None, lines)
        while batch := list(islice(admitted, _LINES_AT_ONCE)):
            self._sink.write(batch, rank)
