"""The node and a workload in one interval, out of ``node.limits`` and ``workload.rates``."""

from __future__ import annotations

import errno
import re
from functools import lru_cache, partial
from typing import Any

from threadtrace.identity.workloads import Workload
from threadtrace.model import knobs
from threadtrace.model.explosion import Forecast, State
from threadtrace.model.snapshot import NodeSnapshot, ProcessSnapshot, Totals, WorkloadSnapshot
from threadtrace.probe.records import Limit
from threadtrace.report.fields import Fields, count, number, text

LIMITS = {limit.name.lower(): limit for limit in Limit}
STATES = {state.value: state for state in State}

# Past the named tuples' own constructors, as where they are made first: thousands a second.
_AS_WORKLOAD = partial(tuple.__new__, WorkloadSnapshot)
_AS_PROCESS = partial(tuple.__new__, ProcessSnapshot)
_AS_TOTALS = partial(tuple.__new__, Totals)
_NOTHING = Totals()
_NO_ERRORS: dict[int, int] = {}

_MAX_COUNT = 1 << 53
_MAX_PROCESSES = 64
_ROUNDED = 1e-6  # by less than this, events round the share of a limit
_USER = re.compile(r"uid (\d{1,10})\b")
_NAMESPACE_INIT = re.compile(r"PID namespace level [1-9]\d? of init (\d{1,10})\Z")
_NAMESPACE_LEVEL = re.compile(r"PID namespace level (\d{1,3})\b")
_NODE_PID_NAMESPACE = "PID namespace level 0"
_NODE = "node"


def node_of(details: Fields) -> NodeSnapshot:
    """What ``threadtrace.node.limits`` tells."""
    tasks, usable = count(details, "tasks_count"), count(details, "pid_max_usable_limit")
    threads_max = count(details, "threads_max_limit")
    nearest, ratio = _nearest(details, tasks, {"pid_max": usable, "threads_max": threads_max})
    return NodeSnapshot(
        _at_least_zero(details, "interval_seconds") or 0.0,
        totals(details),
        tasks,
        count(details, "pid_max_limit"),
        usable,
        threads_max,
        nearest,
        ratio,
        _at_least_zero(details, "seconds_to_exhaustion"),
    )


def _nearest(
    details: Fields, tasks: int | None, limits: dict[str, int | None]
) -> tuple[str | None, float | None]:
    """Which limit of the node is the nearest and how much of it is used; both or neither."""
    nearest = text(details, "nearest_limit") or ""
    value, ratio = limits.get(nearest), _at_least_zero(details, "used_ratio")
    if not value or tasks is None or ratio is None:
        return None, None
    exact = tasks / value
    return nearest, exact if abs(exact - ratio) < _ROUNDED else ratio


def workload_of(
    workload: Workload, details: Fields, node: NodeSnapshot | None
) -> WorkloadSnapshot | None:
    """What ``threadtrace.workload.rates`` tells; None without a number of tasks.

    Args:
        workload: the one that it is about.
        details: of the event.
        node: of the same tick: the value of a limit that is the node's.
    """
    tasks = count(details, "tasks_count")
    if tasks is None:
        return None
    limit = count(details, "tasks_limit")
    state = details.get("state")
    return _AS_WORKLOAD(
        (
            workload,
            _at_least_zero(details, "interval_seconds") or 0.0,
            totals(details),
            refused_by_errno(details.get("refused")),
            tasks,
            max(tasks, count(details, "tasks_peak") or 0),
            limit,
            None if limit is None else text(details, "tasks_limit_owner"),
            None if limit is None else count(details, "tasks_limit_usage"),
            number(details, "growth_per_second") or 0.0,
            processes_of(details.get("top_processes")),
            True,
            STATES.get(state) if isinstance(state, str) else None,
            _forecast(details, node) if "nearest_limit" in details else None,
        )
    )


def idle(snapshot: WorkloadSnapshot) -> WorkloadSnapshot:
    """The same workload in an interval in which it is not told of: nothing happened to it.

    An explosion stays what it is until an event tells otherwise.
    """
    processes = tuple(
        _AS_PROCESS((pid, name, threads, 0)) for pid, name, threads, _ in snapshot.top_processes
    )
    return snapshot._replace(
        counts=_NOTHING,
        refused_by_errno=_NO_ERRORS,
        growth_per_second=0.0,
        top_processes=processes,
        is_active=False,
        state=None if snapshot.state is State.GROWING else snapshot.state,
        forecast=None,
    )


def totals(details: Fields) -> Totals:
    """Counts of an interval or of a life."""
    return _AS_TOTALS(
        (
            count(details, "threads_created_count") or 0,
            count(details, "processes_created_count") or 0,
            count(details, "exited_count") or 0,
            count(details, "refused_count") or 0,
        )
    )


def processes_of(value: Any) -> tuple[ProcessSnapshot, ...]:
    """What ``top_processes`` lists."""
    if not isinstance(value, list):
        return ()
    found = []
    for entry in value[:_MAX_PROCESSES]:
        if isinstance(entry, dict):
            pid, threads = count(entry, "pid"), count(entry, "threads")
            if pid is not None and threads is not None:
                name, created = text(entry, "name") or "", count(entry, "created_count") or 0
                found.append(_AS_PROCESS((pid, name, threads, created)))
    return tuple(found)


def refused_by_errno(value: Any) -> dict[int, int]:
    """``{"EAGAIN": 13}``, by the numbers that errors have here."""
    if not value or not isinstance(value, dict):
        return _NO_ERRORS
    found: dict[int, int] = {}
    for name, refused in value.items():
        number_here = error_number(name)
        if number_here is not None and type(refused) is int and 0 < refused < _MAX_COUNT:
            found[number_here] = found.get(number_here, 0) + refused
    return found


def error_number(name: Any) -> int | None:
    """11 for ``EAGAIN``, and for ``11``; None for what is no error here."""
    if not isinstance(name, str):
        return None
    if name.isascii() and name.isdecimal():
        return int(name) if len(name) < 5 else None
    value = getattr(errno, name, None) if name.isupper() else None
    return value if type(value) is int else None


def namespace_level(limit: Limit, owner: str | None) -> int:
    """Of the PID namespace that has the limit; 0 is the node's."""
    found = _NAMESPACE_LEVEL.match(owner or "") if limit is Limit.PID_MAX else None
    return int(found[1]) if found else 0


def _forecast(details: Fields, node: NodeSnapshot | None) -> Forecast | None:
    """Value and usage are not told here: 0, but for limits that the same events tell of."""
    limit = LIMITS.get(text(details, "nearest_limit") or "")
    owner = text(details, "nearest_limit_owner")
    seconds = _at_least_zero(details, "seconds_to_exhaustion")
    if limit is None or owner is None or seconds is None:
        return None
    value, usage = _value_and_usage(limit, owner, details, node)
    return Forecast(limit, owner, value, usage, seconds, _knob(limit, owner))


def _value_and_usage(
    limit: Limit, owner: str, details: Fields, node: NodeSnapshot | None
) -> tuple[int, int]:
    if limit is Limit.PIDS_MAX and owner == details.get("tasks_limit_owner"):
        return count(details, "tasks_limit") or 0, count(details, "tasks_limit_usage") or 0
    if node is not None and limit is Limit.PID_MAX and owner == _NODE_PID_NAMESPACE:
        return node.pid_max_usable or 0, node.tasks or 0
    if node is not None and limit is Limit.THREADS_MAX and owner == _NODE:
        return node.threads_max or 0, node.tasks or 0
    return 0, 0


@lru_cache(maxsize=1024)
def _knob(limit: Limit, owner: str) -> str:
    """What the agent says of such a limit, told from whose it is."""
    if limit is Limit.PIDS_MAX:
        return knobs.knob_of_cgroup(owner)
    if limit is Limit.RLIMIT_NPROC:
        user = _USER.match(owner)
        return knobs.knob_of_user(int(user[1])) if user else ""
    if limit is Limit.THREADS_MAX or owner == _NODE_PID_NAMESPACE:
        return knobs.knob_of_node(limit)
    init = _NAMESPACE_INIT.match(owner)
    return knobs.knob_of_pid_namespace(int(init[1]) if init else 0)


def _at_least_zero(details: Fields, name: str) -> float | None:
    value = number(details, name)
    return None if value is None or value < 0 else value
