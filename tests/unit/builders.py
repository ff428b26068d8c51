"""Snapshots for tests of what renders them."""

from __future__ import annotations

from threadtrace.identity.runtimes import ContainerNames
from threadtrace.identity.workloads import Workload, WorkloadKind
from threadtrace.model.snapshot import (
    NodeSnapshot,
    ProcessSnapshot,
    Snapshot,
    Totals,
    WorkloadSnapshot,
)

CONTAINER_ID = "40c03570b6f4c30bc8d69923d37ee698f5cfcced92c7b7df1c47f6f7887378a9"
POD_UID = "b53dfa9e-2dc9-b890-f7fa-db2770857b03"
NAMES = ContainerNames(
    "containerd", "web", "shop/web:1", "shop", "checkout-7d9f", POD_UID, "web", False
)
WEB = Workload(
    WorkloadKind.CONTAINER,
    f"container:{CONTAINER_ID}",
    f"/kubepods/burstable/pod{POD_UID}/{CONTAINER_ID}",
    CONTAINER_ID,
    POD_UID,
    "containerd",
    None,
    NAMES,
)


def workload(
    about: Workload = WEB,
    *,
    counts: Totals = Totals(997, 3, 499, 13),  # noqa: B008
    refused: dict[int, int] | None = None,
    tasks: int = 501,
    limit: int | None = 1000,
    growth: float = 166.0,
    processes: tuple[ProcessSnapshot, ...] = (ProcessSnapshot(4242, "java", 498, 997),),
) -> WorkloadSnapshot:
    """A leaking container, unless told otherwise."""
    return WorkloadSnapshot(
        about,
        1.0,
        counts,
        {11: counts.refused} if refused is None and counts.refused else refused or {},
        tasks,
        max(tasks, 600),
        limit,
        None if limit is None else about.cgroup_path,
        None if limit is None else tasks,
        growth,
        processes,
        any(counts),
    )


def node(tasks: int | None = 31_635, pid_max: int | None = 32_768) -> NodeSnapshot:
    """Incident B's node."""
    usable = None if pid_max is None else pid_max - 300
    ratio = None if tasks is None or usable is None else tasks / usable
    return NodeSnapshot(
        1.0,
        Totals(997, 3, 499, 13),
        tasks,
        pid_max,
        usable,
        1_545_000,
        None if ratio is None else "pid_max",
        ratio,
    )


def snapshot(*workloads: WorkloadSnapshot) -> Snapshot:
    """One tick."""
    return Snapshot(1_700_000_000_123_456_789, node(), workloads, (), (), ())
