"""The lines that a tick, and what happens between two, are told in: which, and in what order."""

from __future__ import annotations

from collections.abc import Iterator

from threadtrace.delivery.buffer import Rank
from threadtrace.model.snapshot import Happenings, Snapshot
from threadtrace.output.events import EventWriter

RankedLine = tuple[Rank, bytes]


def happening_lines(writer: EventWriter, happened: Happenings) -> Iterator[RankedLine]:
    """Workloads appeared, clones were refused, threads explode; made as they are asked for."""
    for started in happened.started:
        yield Rank.COMINGS, writer.workload_started(started)
    for refusal in happened.refusals:
        yield Rank.KEPT, writer.fork_refused(refusal)
    for explosion in happened.explosions:
        yield Rank.KEPT, writer.explosion(explosion)


def tick_lines(writer: EventWriter, snapshot: Snapshot, with_idle: bool) -> Iterator[RankedLine]:
    """All that a tick found; made as it is asked for.

    Args:
        writer: numbers them.
        snapshot: the tick.
        with_idle: whether workloads in which nothing happened are told, too.
    """
    time_ns, seconds = snapshot.time_ns, snapshot.node.interval_seconds
    yield Rank.RATES, writer.node_limits(time_ns, snapshot.node)
    for workload in snapshot.workloads:
        if with_idle or workload.is_active:
            yield Rank.RATES, writer.workload_rates(time_ns, workload, seconds)
    for refusal in snapshot.refusals:
        yield Rank.KEPT, writer.fork_refused(refusal)
    for explosion in snapshot.explosions:
        yield Rank.KEPT, writer.explosion(explosion)
    for ended in snapshot.ended:
        yield Rank.COMINGS, writer.workload_ended(ended)
    for loss in snapshot.losses:
        yield Rank.KEPT, writer.loss(time_ns, loss)
