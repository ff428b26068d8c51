"""The event stream: snapshots in, lines out."""

from __future__ import annotations

from threadtrace.model.snapshot import Happenings, Loss, Snapshot
from threadtrace.output.events import EventWriter
from threadtrace.output.fields import Fields
from threadtrace.output.sink import LineSink

# Lines of a tick that wait for each other: together half a megabyte.
_LINES_AT_ONCE = 512


class EventStream:
    """Writes what the agent finds as events."""

    def __init__(self, writer: EventWriter, sink: LineSink, include_idle: bool) -> None:
        """A stream of one run.

        Args:
            writer: numbers the events.
            sink: takes the lines.
            include_idle: whether workloads without activity get a rates event too.
        """
        self._writer = writer
        self._sink = sink
        self._include_idle = include_idle

    def on_start(self, time_ns: int, details: Fields) -> None:
        """The agent counts."""
        self._sink.write([self._writer.started(time_ns, details)])

    def on_happenings(self, happened: Happenings) -> None:
        """Workloads appeared, clones were refused, threads explode."""
        lines = [self._writer.workload_started(entry) for entry in happened.started]
        lines += [self._writer.fork_refused(refusal) for refusal in happened.refusals]
        lines += [self._writer.explosion(explosion) for explosion in happened.explosions]
        self._sink.write(lines)

    def on_snapshot(self, snapshot: Snapshot) -> None:
        """A tick."""
        now, writer = snapshot.time_ns, self._writer
        interval_seconds = snapshot.node.interval_seconds
        lines = [writer.node_limits(now, snapshot.node)]
        for workload in snapshot.workloads:
            if workload.is_active or self._include_idle:
                lines.append(writer.workload_rates(now, workload, interval_seconds))
                if len(lines) >= _LINES_AT_ONCE:
                    self._sink.write(lines)
                    lines = []
        lines += [writer.fork_refused(refusal) for refusal in snapshot.refusals]
        lines += [writer.explosion(explosion) for explosion in snapshot.explosions]
        lines += [writer.workload_ended(ended) for ended in snapshot.ended]
        losses = list(snapshot.losses)
        undelivered = self._sink.take_lost()
        if undelivered:
            losses.append(Loss("output", undelivered))
        lines += [writer.loss(now, loss) for loss in losses]
        self._sink.write(lines)
