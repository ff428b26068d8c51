"""The event stream: snapshots in, lines out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby, islice
from operator import itemgetter
from typing import Protocol

from threadtrace.delivery.buffer import Rank
from threadtrace.model.snapshot import Happenings, Loss, Snapshot
from threadtrace.output.events import EventWriter
from threadtrace.output.fields import Fields
from threadtrace.output.filters import EventFilter
from threadtrace.output.lines import RankedLine, happening_lines, tick_lines

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
        self._write([(Rank.KEPT, self._writer.started(time_ns, details))])

    def on_happenings(self, happened: Happenings) -> None:
        """Workloads appeared, clones were refused, threads explode."""
        self._write(happening_lines(self._writer, happened))

    def on_snapshot(self, snapshot: Snapshot) -> None:
        """A tick."""
        losses = *snapshot.losses, *self._own_losses()
        self._write(tick_lines(self._writer, snapshot._replace(losses=losses), self._include_idle))

    def on_end(self, time_ns: int) -> None:
        """After the last tick: what was lost of it."""
        self._write((Rank.KEPT, self._writer.loss(time_ns, loss)) for loss in self._own_losses())

    def _own_losses(self) -> list[Loss]:
        losses = []
        for name, lost in self._sink.take_lost().items():
            losses.append(Loss("output", lost, name))
        excess = 0 if self._admission is None else self._admission.take_lost()
        if excess:
            losses.append(Loss("rate_limit", excess))
        return losses

    def _write(self, lines: Iterable[RankedLine]) -> None:
        for rank, told in groupby(lines, key=itemgetter(0)):
            admitted = (line for _, line in told if line)
            while batch := list(islice(admitted, _LINES_AT_ONCE)):
                self._sink.write(batch, rank)
