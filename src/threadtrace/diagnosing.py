"""Gathers the answer of ``threadtrace why`` from what the pipeline knows."""

from __future__ import annotations

from collections.abc import Iterable

from threadtrace.holders import Holders
from threadtrace.model import knobs
from threadtrace.model.accounts import Account
from threadtrace.model.diagnosis import Cause, NearLimit
from threadtrace.model.snapshot import NodeSnapshot
from threadtrace.node.cgroups import Cgroup, CgroupTree
from threadtrace.probe.records import Limit

_LEAST_GROWTH_PER_SECOND = 0.5


def order(causes: Iterable[Cause]) -> tuple[Cause, ...]:
    """Those that refuse now and that others suffer from first, then by refusals."""
    return tuple(
        sorted(
            causes,
            key=lambda cause: (cause.is_now, not cause.is_own_limit, cause.refused),
            reverse=True,
        )
    )


def nearest_limit(node: NodeSnapshot, tree: CgroupTree, holders: Holders) -> NearLimit | None:
    """The limit with the highest share in use: of the node, or of any cgroup.

    None where not even the node's can be read.
    """
    best: tuple[float, Limit, Cgroup, int, int] | None = None
    for limit, value in (
        (Limit.PID_MAX, node.pid_max_usable),
        (Limit.THREADS_MAX, node.threads_max),
    ):
        if value and node.tasks is not None:
            best = _nearer(best, limit, tree.root, value, node.tasks)
    for cgroup in tree:
        if cgroup.limit is not None:
            best = _nearer(best, Limit.PIDS_MAX, cgroup, cgroup.limit, cgroup.tasks)
    if best is None:
        return None
    _, limit, cgroup, value, usage = best
    is_of_node = limit is not Limit.PIDS_MAX
    knob = knobs.knob_of_node(limit) if is_of_node else knobs.knob_of_cgroup(cgroup.path)
    fastest = _fastest(holders.accounts_below(cgroup))
    return NearLimit(
        limit,
        "node" if is_of_node else cgroup.path,
        value,
        usage,
        knob,
        holders.below(cgroup, usage),
        None if fastest is None else fastest.workload,
        0.0 if fastest is None else fastest.growth_per_second,
    )


def _nearer(
    best: tuple[float, Limit, Cgroup, int, int] | None,
    limit: Limit,
    cgroup: Cgroup,
    value: int,
    usage: int,
) -> tuple[float, Limit, Cgroup, int, int]:
    # A limit of 0 forbids; nothing can be in it that counts.
    ratio = usage / value if value > 0 else float(usage > 0)
    if best is not None and best[0] >= ratio:
        return best
    return ratio, limit, cgroup, value, usage


def _fastest(accounts: Iterable[Account]) -> Account | None:
    growing = [a for a in accounts if a.growth_per_second >= _LEAST_GROWTH_PER_SECOND]
    return max(growing, key=lambda account: account.growth_per_second, default=None)
