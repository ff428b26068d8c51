"""How close the node itself is to a limit. Pure."""

from __future__ import annotations

from threadtrace.model.snapshot import NodeSnapshot, Totals
from threadtrace.node.limits import NodeLimits


def node_snapshot(
    limits: NodeLimits,
    counts: Totals,
    interval_seconds: float,
    seconds_to_exhaustion: float | None = None,
) -> NodeSnapshot:
    """Join the node's limits with what was counted; the nearest limit is the one most used.

    All of them are used by the same tasks, so it is also the one that is exhausted first.
    """
    candidates = {"pid_max": limits.pid_max_usable, "threads_max": limits.threads_max}
    used = {
        name: limits.tasks_count / limit
        for name, limit in candidates.items()
        if limits.tasks_count is not None and limit is not None and limit > 0
    }
    nearest = max(used, key=lambda name: used[name], default=None)
    return NodeSnapshot(
        interval_seconds=interval_seconds,
        counts=counts,
        tasks=limits.tasks_count,
        pid_max=limits.pid_max,
        pid_max_usable=limits.pid_max_usable,
        threads_max=limits.threads_max,
        nearest_limit=nearest,
        used_ratio=None if nearest is None else used[nearest],
        seconds_to_exhaustion=seconds_to_exhaustion,
    )
