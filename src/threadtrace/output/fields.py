"""The fields of the event contract, out of snapshots. Shared by the stream and ``top --json``.

Dotted names of the contract are nested objects; a value that is not known is left out.
"""

from __future__ import annotations

import time
from typing import Any

from threadtrace.clock import NANOSECONDS
from threadtrace.identity.workloads import Workload
from threadtrace.model.refusal import Culprit, Refusal, Victim
from threadtrace.model.snapshot import (
    NodeSnapshot,
    ProcessSnapshot,
    Totals,
    WorkloadSnapshot,
)
from threadtrace.probe.records import Refused
from threadtrace.text import clean, error_name

Fields = dict[str, Any]

# Longer ones do not occur in what kubelet and systemd make; a line must stay below 16 KiB.
_MAX_PATH_CHARACTERS = 4096
_MAX_NAME_CHARACTERS = 256

_REFUSED = {"refused_count", "refused"}


def node_fields(node: NodeSnapshot) -> Fields:
    """What ``threadtrace.node.limits`` carries under ``threadtrace``."""
    return known(
        {
            "interval_seconds": round(node.interval_seconds, 3),
            "tasks_count": node.tasks,
            "pid_max_limit": node.pid_max,
            "pid_max_usable_limit": node.pid_max_usable,
            "threads_max_limit": node.threads_max,
            "used_ratio": None if node.used_ratio is None else round(node.used_ratio, 6),
            "nearest_limit": node.nearest_limit,
            "seconds_to_exhaustion": None
            if node.seconds_to_exhaustion is None
            else round(node.seconds_to_exhaustion, 1),
            **count_fields(node.counts),
        }
    )


def count_fields(counts: Totals) -> Fields:
    """Counts of an interval or of a life."""
    return {
        "threads_created_count": counts.threads_created,
        "processes_created_count": counts.processes_created,
        "exited_count": counts.exited,
        "refused_count": counts.refused,
    }


def without_refusals(fields: Fields) -> Fields:
    """The same where refused clones are not counted: unknown is not 0."""
    return {name: value for name, value in fields.items() if name not in _REFUSED}


def rates_fields(snapshot: WorkloadSnapshot, interval_seconds: float) -> Fields:
    """What ``threadtrace.workload.rates`` carries under ``threadtrace``."""
    threads, processes, exited, refused = snapshot.counts
    fields: Fields = {
        "interval_seconds": round(interval_seconds, 3),
        "threads_created_count": threads,
        "processes_created_count": processes,
        "exited_count": exited,
        "refused_count": refused,
        "refused": {error_name(code): count for code, count in snapshot.refused_by_errno.items()},
        "threads_created_per_second": round(snapshot.threads_created_per_second, 3),
        "growth_per_second": round(snapshot.growth_per_second, 3),
        "tasks_count": snapshot.tasks,
        "tasks_peak": snapshot.tasks_peak,
    }
    if snapshot.limit is not None:
        fields["tasks_limit"] = snapshot.limit
        fields["tasks_limit_owner"] = shown_path(snapshot.limit_path or "/")
        fields["tasks_limit_usage"] = snapshot.limit_tasks
    fields["top_processes"] = [process_fields(process) for process in snapshot.top_processes]
    return fields


def process_fields(process: ProcessSnapshot) -> Fields:
    """One entry of ``top_processes``."""
    pid, name, threads, created_count = process
    fields: Fields = {"pid": pid, "threads": threads, "created_count": created_count}
    if name:
        fields["name"] = name[:_MAX_NAME_CHARACTERS]
    return fields


def refusal_fields(refusal: Refusal) -> Fields:
    """What ``threadtrace.fork.refused`` carries under ``threadtrace``."""
    return known(
        {
            "errno": error_name(refusal.error),
            "kind": None if refusal.refused is Refused.UNKNOWN else refusal.refused.name.lower(),
            "limit": refusal.limit.name.lower(),
            "limit_value": refusal.limit_value,
            "usage_value": refusal.usage,
            "limit_owner": None if refusal.owner is None else shown_path(refusal.owner),
            "is_own_limit": refusal.is_own_limit,
            "also_reached": [limit.name.lower() for limit in refusal.also_reached],
            "knob": refusal.knob,
            "evidence": refusal.evidence.name.lower(),
            "culprits": [culprit_fields(culprit) for culprit in refusal.culprits],
            "refused_count": refusal.refused_count,
            "suppressed_count": refusal.suppressed,
        }
    )


def culprit_fields(culprit: Culprit) -> Fields:
    """A workload that holds much of a limit."""
    process = culprit.process
    return known(
        {
            "workload": workload_label(culprit.workload),
            "tasks_count": culprit.tasks,
            "share_ratio": None if culprit.share_ratio is None else round(culprit.share_ratio, 4),
            "process": None
            if process is None
            else {
                "pid": process.pid,
                "threads": process.threads,
                "name": process.name[:_MAX_NAME_CHARACTERS],
            },
        }
    )


def victim_fields(victim: Victim) -> Fields:
    """The process and thread that asked, after the semantic conventions."""
    if not victim.pid:
        return {}
    return {
        "pid": victim.pid,
        "thread": {"id": victim.thread_id, "name": clean(victim.thread_name)},
    }


def workload_label(workload: Workload) -> Fields:
    """What it is called and what kind of thing it is, whether or not a convention names it."""
    return {
        "kind": workload.kind.value,
        "name": clipped(workload.name, _MAX_PATH_CHARACTERS),
    }


def workload_fields(workload: Workload) -> Fields:
    """The fields of semantic conventions that say which workload an event is about."""
    names = workload.names
    fields: Fields = {}
    k8s = {
        "namespace": known({"name": names.k8s_namespace if names else None}),
        "pod": known({"name": names.k8s_pod_name if names else None, "uid": workload.pod_uid}),
        "container": known({"name": names.k8s_container_name if names else None}),
    }
    container = {
        "id": workload.container_id,
        "name": names.container_name if names else None,
        "runtime": known({"name": workload.runtime}) if workload.container_id else None,
        "image": known({"name": names.image_name if names else None}),
    }
    for group, values in (("k8s", k8s), ("container", container)):
        present = {name: value for name, value in values.items() if value}
        if present:
            fields[group] = present
    if workload.cgroup_path is not None:
        path = clipped(workload.cgroup_path, _MAX_PATH_CHARACTERS)
        fields["process"] = {"linux": {"cgroup": path}}
    if workload.unit is not None:
        fields["systemd"] = {"unit": workload.unit}
    return fields


def timestamp(time_ns: int) -> str:
    """RFC 3339 in UTC with nine fractional digits."""
    seconds, fraction = divmod(time_ns, NANOSECONDS)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{fraction:09d}Z"


def known(values: Fields) -> Fields:
    """Without what is None."""
    return {name: value for name, value in values.items() if value is not None}


def clipped(text: str | None, length: int) -> str | None:
    """Cut to ``length`` characters."""
    return text if text is None else text[:length]


def shown_path(path: str) -> str:
    """A cgroup's path as JSON can carry it."""
    return clean(path)[:_MAX_PATH_CHARACTERS]
