"""The lines of the table: workloads as they are, or folded into namespaces and pods. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import NamedTuple

from threadtrace.identity.workloads import Workload, WorkloadKind
from threadtrace.model.explosion import Forecast, State
from threadtrace.model.snapshot import Totals, WorkloadSnapshot

SortWorkloads = Callable[[Iterable["Line"]], list["Line"]]

_NOT_IN_PODS = "not in pods"
_WORST = (
    State.EXHAUSTED,
    State.EXPLODING,
    State.GROWING,
    State.RECOVERING,
    State.QUIET,
)


class Line(NamedTuple):
    """One line of the table."""

    key: str
    """Of the workload; of a group one of its own."""
    label: str
    shot: WorkloadSnapshot
    """Of a group: the sum of what is in it."""
    depth: int = 0
    is_open: bool | None = None
    """Whether a group shows what is in it; None for a workload."""


def flat(shots: Iterable[WorkloadSnapshot]) -> list[Line]:
    """A line for each workload."""
    return [Line(shot.workload.key, shot.workload.name, shot) for shot in shots]


def tree(
    shots: Sequence[WorkloadSnapshot], node: str, closed: set[str], in_order: SortWorkloads
) -> list[Line]:
    """Node, namespaces, pods, containers; what is in no pod stands under a branch of its own.

    Args:
        shots: of all workloads that are shown.
        node: its name.
        closed: keys of groups that are folded.
        in_order: sorts siblings.
    """
    branches = [
        _namespace_branch(name, inside, closed) for name, inside in _by(shots, _namespace).items()
    ]
    root = _Branch("group:", node or "node", 0, closed, branches)
    return root.lines(in_order)


def _namespace_branch(name: str, shots: Sequence[WorkloadSnapshot], closed: set[str]) -> _Branch:
    key = f"group:{name}"
    if name == _NOT_IN_PODS:
        leaves = [Line(shot.workload.key, shot.workload.name, shot, 2) for shot in shots]
        return _Branch(key, name, 1, closed, (), leaves)
    pods = [
        _Branch(f"{key}/{pod}", pod, 2, closed, (), [_leaf(shot) for shot in inside])
        for pod, inside in _by(shots, _pod).items()
    ]
    return _Branch(key, name, 1, closed, pods)


class _Branch:
    """A group. Its sum is that of the groups in it, so that each workload is added once."""

    def __init__(
        self,
        key: str,
        label: str,
        depth: int,
        closed: set[str],
        branches: Sequence[_Branch],
        leaves: Sequence[Line] = (),
    ) -> None:
        self.branches = {branch.line.key: branch for branch in branches}
        self.leaves = leaves
        inside = [branch.line.shot for branch in branches] or [leaf.shot for leaf in leaves]
        # Most pods have one container: it is its own sum.
        sum_of_all = inside[0] if len(inside) == 1 else _sum(key, inside)
        self.line: Line = Line(key, label, sum_of_all, depth, key not in closed)

    def lines(self, in_order: SortWorkloads) -> list[Line]:
        """Itself, and what is in it unless it is folded."""
        found = [self.line]
        if not self.line.is_open:
            return found
        if not self.branches:
            return found + (list(self.leaves) if len(self.leaves) == 1 else in_order(self.leaves))
        for line in in_order([branch.line for branch in self.branches.values()]):
            found += self.branches[line.key].lines(in_order)
        return found


def _leaf(shot: WorkloadSnapshot) -> Line:
    return Line(shot.workload.key, _container(shot), shot, 3)


def _by(
    shots: Iterable[WorkloadSnapshot], name_of: Callable[[WorkloadSnapshot], str]
) -> dict[str, list[WorkloadSnapshot]]:
    found: dict[str, list[WorkloadSnapshot]] = {}
    for shot in shots:
        found.setdefault(name_of(shot), []).append(shot)
    return found


def _namespace(shot: WorkloadSnapshot) -> str:
    names = shot.workload.names
    if names is not None and names.k8s_pod_name:
        return names.k8s_namespace or "?"
    return _NOT_IN_PODS


def _pod(shot: WorkloadSnapshot) -> str:
    names = shot.workload.names
    return (names.k8s_pod_name if names else None) or "?"


def _container(shot: WorkloadSnapshot) -> str:
    names = shot.workload.names
    if names is None:
        return shot.workload.name
    if names.is_sandbox:
        return "(pause)"
    return names.k8s_container_name or shot.workload.name


def _sum(key: str, shots: Sequence[WorkloadSnapshot]) -> WorkloadSnapshot:
    """One workload that stands for all of these. It has a limit where all have the same."""
    workload, first = Workload(WorkloadKind.CGROUP, key, None), shots[0]
    has_same_limit = all(shot.limit_path == first.limit_path for shot in shots)
    processes = [process for shot in shots for process in shot.top_processes[:1]]
    return WorkloadSnapshot(
        workload=workload,
        interval_seconds=first.interval_seconds,
        counts=Totals(*map(sum, zip(*(shot.counts for shot in shots)))),
        refused_by_errno=_refused(shots),
        tasks=sum(shot.tasks for shot in shots),
        tasks_peak=sum(shot.tasks_peak for shot in shots),
        limit=first.limit if has_same_limit else None,
        limit_path=first.limit_path if has_same_limit else None,
        limit_tasks=first.limit_tasks if has_same_limit else None,
        growth_per_second=sum(shot.growth_per_second for shot in shots),
        top_processes=tuple(sorted(processes, key=lambda process: -process.threads)[:1]),
        is_active=any(shot.is_active for shot in shots),
        state=_worst(shots),
        forecast=_soonest(shots),
    )


def _refused(shots: Iterable[WorkloadSnapshot]) -> dict[int, int]:
    refused: dict[int, int] = {}
    for shot in shots:
        for error, count in shot.refused_by_errno.items():
            refused[error] = refused.get(error, 0) + count
    return refused


def _soonest(shots: Iterable[WorkloadSnapshot]) -> Forecast | None:
    found, least = None, inf
    for shot in shots:
        forecast = shot.forecast
        if forecast is not None and forecast.seconds is not None and forecast.seconds < least:
            found, least = forecast, forecast.seconds
    return found


def _worst(shots: Iterable[WorkloadSnapshot]) -> State | None:
    found = {shot.state for shot in shots}
    return next((state for state in _WORST if state in found), None)
