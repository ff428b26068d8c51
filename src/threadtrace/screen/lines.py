"""The lines of the table: workloads as they are, or folded into namespaces and pods. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from threadtrace.identity.workloads import Workload, WorkloadKind
from threadtrace.model.danger import EXPLODING
from threadtrace.model.explosion import State
from threadtrace.model.snapshot import Totals, WorkloadSnapshot

SortWorkloads = Callable[[Iterable["Line"]], list["Line"]]

_NOT_IN_PODS = "not in pods"
_WORST = (
    State.EXHAUSTED,
    State.EXPLODING,
    State.RECOVERING,
    State.GROWING,
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
    root = _Branch("group:", node or "node", shots)
    for name, inside in _by(shots, _namespace).items():
        branch = root.branch(f"group:{name}", name, inside)
        if name == _NOT_IN_PODS:
            branch.leaves = [_leaf(shot, shot.workload.name) for shot in inside]
            continue
        for pod, containers in _by(inside, _pod).items():
            twig = branch.branch(f"group:{name}/{pod}", pod, containers)
            twig.leaves = [_leaf(shot, _container(shot)) for shot in containers]
    return root.lines(0, closed, in_order)


class _Branch:
    def __init__(self, key: str, label: str, shots: Sequence[WorkloadSnapshot]) -> None:
        self.line = Line(key, label, _sum(key, shots))
        self.branches: dict[str, _Branch] = {}
        self.leaves: list[Line] = []

    def branch(self, key: str, label: str, shots: Sequence[WorkloadSnapshot]) -> _Branch:
        branch = self.branches[key] = _Branch(key, label, shots)
        return branch

    def lines(self, depth: int, closed: set[str], in_order: SortWorkloads) -> list[Line]:
        is_open = self.line.key not in closed
        found = [self.line._replace(depth=depth, is_open=is_open)]
        if is_open:
            children = [branch.line for branch in self.branches.values()]
            for child in in_order([*children, *self.leaves]):
                branch = self.branches.get(child.key)
                if branch is None:
                    found.append(child._replace(depth=depth + 1))
                else:
                    found += branch.lines(depth + 1, closed, in_order)
        return found


def _leaf(shot: WorkloadSnapshot, label: str) -> Line:
    return Line(shot.workload.key, label, shot)


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
    counts = Totals(*map(sum, zip(*(shot.counts for shot in shots))))
    refused: dict[int, int] = {}
    for shot in shots:
        for error, count in shot.refused_by_errno.items():
            refused[error] = refused.get(error, 0) + count
    first = shots[0]
    has_same_limit = all(shot.limit_path == first.limit_path for shot in shots)
    processes = [process for shot in shots for process in shot.top_processes[:1]]
    forecasts = [shot.forecast for shot in shots if shot.forecast and shot.forecast.seconds]
    return WorkloadSnapshot(
        workload=Workload(WorkloadKind.CGROUP, key, None),
        interval_seconds=first.interval_seconds,
        counts=counts,
        refused_by_errno=refused,
        tasks=sum(shot.tasks for shot in shots),
        tasks_peak=sum(shot.tasks_peak for shot in shots),
        limit=first.limit if has_same_limit else None,
        limit_path=first.limit_path if has_same_limit else None,
        limit_tasks=first.limit_tasks if has_same_limit else None,
        growth_per_second=sum(shot.growth_per_second for shot in shots),
        top_processes=tuple(sorted(processes, key=lambda process: -process.threads)[:1]),
        is_active=any(shot.is_active for shot in shots),
        state=_worst(shots),
        forecast=min(forecasts, key=lambda forecast: forecast.seconds or 0.0, default=None),
    )


def _worst(shots: Iterable[WorkloadSnapshot]) -> State | None:
    found = {shot.state for shot in shots}
    return next((state for state in _WORST if state in found), None)


def is_exploding(line: Line) -> bool:
    """Whether it does harm now."""
    return line.shot.state in EXPLODING
