"""What a recording knows of one workload or one process, as far as it was told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from threadtrace.model import knobs
from threadtrace.model.details import (
    LimitLevel,
    ProcessDetails,
    ProcessInspection,
    WorkloadDetails,
)
from threadtrace.model.explosion import Explosion, Forecast
from threadtrace.model.snapshot import NodeSnapshot, ProcessSnapshot, Snapshot, WorkloadSnapshot
from threadtrace.probe.records import Limit


def workload_details(
    snapshot: Snapshot, key: str, explosions: Iterable[Explosion]
) -> WorkloadDetails | None:
    """Its largest processes and those of its limits of which anything is told.

    Args:
        snapshot: the last.
        key: as in ``Workload``.
        explosions: the last that was told of each process or workload.
    """
    found = _workload(snapshot, key)
    if found is None:
        return None
    own = [entry for entry in explosions if entry.workload.key == key]
    processes = tuple(_process(entry, found, own) for entry in found.top_processes)
    return WorkloadDetails(key, processes, None, _limits(found, snapshot.node, own))


def process_inspection(
    snapshot: Snapshot, pid: int, explosions: Iterable[Explosion]
) -> ProcessInspection | None:
    """From the explosion that names it, else from the largest of its workload."""
    told = [entry for entry in explosions if entry.process is not None and entry.process.pid == pid]
    explosion = told[-1] if told else None
    for workload in snapshot.workloads:
        for entry in workload.top_processes:
            if entry.pid == pid:
                details = _process(entry, workload, told)
                limits = _limits(workload, snapshot.node, told)
                return _inspection(details, explosion, limits)
    if explosion is None or explosion.process is None:
        return None
    process = explosion.process
    threads = next((entry.threads for entry in explosion.top_processes if entry.pid == pid), None)
    if threads is None:
        threads = sum(entry.threads for entry in explosion.thread_names)
    details = ProcessDetails(pid, process.name, process.command_line, threads, None, None)
    own = _workload(snapshot, explosion.workload.key)
    limits = () if own is None else _limits(own, snapshot.node, told)
    return _inspection(details, explosion, limits)


def _inspection(
    details: ProcessDetails, explosion: Explosion | None, limits: tuple[LimitLevel, ...]
) -> ProcessInspection:
    process = None if explosion is None else explosion.process
    return ProcessInspection(
        process=details,
        parent_pid=None if process is None else process.parent_pid,
        uid=None,
        thread_names=() if explosion is None else explosion.thread_names,
        limits=limits,
    )


def _workload(snapshot: Snapshot, key: str) -> WorkloadSnapshot | None:
    return next((entry for entry in snapshot.workloads if entry.workload.key == key), None)


def _process(
    entry: ProcessSnapshot, workload: WorkloadSnapshot, explosions: list[Explosion]
) -> ProcessDetails:
    command_line = None
    for explosion in explosions:
        if explosion.process is not None and explosion.process.pid == entry.pid:
            command_line = explosion.process.command_line
    interval_seconds = workload.interval_seconds
    created = entry.created_count / interval_seconds if interval_seconds > 0 else None
    return ProcessDetails(entry.pid, entry.name, command_line, entry.threads, created, None)


def _limits(
    workload: WorkloadSnapshot, node: NodeSnapshot, explosions: list[Explosion]
) -> tuple[LimitLevel, ...]:
    """The nearest pids.max, those that are used up first, and the node's; each once."""
    found: dict[tuple[Limit, str], LimitLevel] = {}
    for level in _told_limits(workload, node, explosions):
        found.setdefault((level.limit, level.owner), level)
    return tuple(sorted(found.values(), key=_distance))


def _told_limits(
    workload: WorkloadSnapshot, node: NodeSnapshot, explosions: list[Explosion]
) -> Iterator[LimitLevel]:
    if workload.limit is not None and workload.limit_path is not None:
        path, knob = workload.limit_path, knobs.knob_of_cgroup(workload.limit_path)
        yield LimitLevel(Limit.PIDS_MAX, path, workload.limit, workload.limit_tasks, knob)
    yield from _node_limits(node)
    for forecast in [workload.forecast, *(entry.forecast for entry in reversed(explosions))]:
        if forecast is not None and forecast.value:
            yield _of_forecast(forecast)


def _node_limits(node: NodeSnapshot) -> Iterator[LimitLevel]:
    named = (
        (Limit.PID_MAX, "PID namespace level 0", node.pid_max_usable),
        (Limit.THREADS_MAX, "node", node.threads_max),
    )
    for limit, owner, value in named:
        if value is not None:
            yield LimitLevel(limit, owner, value, node.tasks, knobs.knob_of_node(limit))


def _of_forecast(forecast: Forecast) -> LimitLevel:
    return LimitLevel(forecast.limit, forecast.owner, forecast.value, forecast.usage, forecast.knob)


def _distance(level: LimitLevel) -> int:
    """Cgroups first, then users and namespaces, then the node."""
    if level.limit is Limit.PIDS_MAX:
        return 0
    return 2 if level.owner in ("node", "PID namespace level 0") else 1
