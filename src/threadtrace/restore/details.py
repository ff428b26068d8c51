"""A closer look, out of what a running agent answered. The inverse of ``output/details.py``.

The answer may hold anything (another version, a stranger on that socket): a value of the wrong type
is as good as absent, and what lacks what makes it out is left out.
"""

from __future__ import annotations

from threadtrace.model.details import (
    LimitLevel,
    ProcessDetails,
    ProcessInspection,
    WorkloadDetails,
)
from threadtrace.model.explosion import ThreadName
from threadtrace.probe.records import Limit
from threadtrace.report.fields import Fields, count, inner, number, objects, text

_LIMITS = {limit.name.lower(): limit for limit in Limit}


def workload_details(fields: Fields) -> WorkloadDetails | None:
    """None where these are no details of a workload."""
    key = text(fields, "key")
    if key is None:
        return None
    processes = map(_process, objects(fields, "processes"))
    return WorkloadDetails(
        key=key,
        processes=tuple(process for process in processes if process is not None),
        processes_count=count(fields, "processes_count"),
        limits=_levels(fields),
    )


def process_inspection(fields: Fields) -> ProcessInspection | None:
    """None where this is no look at a process."""
    process = _process(inner(fields, "process"))
    if process is None:
        return None
    return ProcessInspection(
        process=process,
        parent_pid=count(fields, "parent_pid"),
        uid=count(fields, "uid"),
        thread_names=tuple(
            ThreadName(text(entry, "name") or "", count(entry, "count") or 0)
            for entry in objects(fields, "thread_names")
        ),
        limits=_levels(fields),
    )


def _process(fields: Fields) -> ProcessDetails | None:
    pid, threads = count(fields, "pid"), count(fields, "threads")
    if pid is None or threads is None:
        return None
    return ProcessDetails(
        pid=pid,
        name=text(fields, "name") or "",
        command_line=text(fields, "command_line"),
        threads=threads,
        created_per_second=number(fields, "created_per_second"),
        age_seconds=number(fields, "age_seconds"),
    )


def _levels(fields: Fields) -> tuple[LimitLevel, ...]:
    levels = map(_level, objects(fields, "limits"))
    return tuple(level for level in levels if level is not None)


def _level(fields: Fields) -> LimitLevel | None:
    limit, value = _LIMITS.get(text(fields, "limit") or ""), count(fields, "limit_value")
    if limit is None or value is None:
        return None
    return LimitLevel(
        limit=limit,
        owner=text(fields, "limit_owner") or "",
        value=value,
        usage=count(fields, "usage_value"),
        knob=text(fields, "knob") or "",
    )
