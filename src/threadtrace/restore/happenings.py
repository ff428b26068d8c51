"""Refusals and explosions, out of ``fork.refused`` and ``explosion.*``."""

from __future__ import annotations

import re
from typing import NamedTuple

from threadtrace.identity.workloads import Workload
from threadtrace.model.explosion import (
    CreatingProcess,
    End,
    Explosion,
    Forecast,
    Rates,
    Shape,
    State,
    ThreadName,
    Transition,
    VictimCount,
)
from threadtrace.model.explosion import Evidence as ExplosionEvidence
from threadtrace.model.refusal import Culprit, LargestProcess, Refusal, Victim
from threadtrace.probe.records import Evidence, Refused
from threadtrace.report.fields import Fields, count, inner, number, objects, text, texts, time_ns
from threadtrace.report.reading import EXPLOSION, Event
from threadtrace.restore.rates import (
    LIMITS,
    STATES,
    error_number,
    namespace_level,
    processes_of,
    totals,
)
from threadtrace.restore.workloads import Workloads

_REFUSED = {kind.name.lower(): kind for kind in Refused}
_EVIDENCE = {evidence.name.lower(): evidence for evidence in Evidence}
_TRANSITIONS = {transition.value: transition for transition in Transition}
_SHAPES = {shape.value: shape for shape in Shape}
_ENDS = {end.value: end for end in End}

_EPISODE = re.compile(r".*-(\d{1,15})\Z", re.DOTALL)
_MAX_ENTRIES = 64


def refusal_of(event: Event, workloads: Workloads) -> Refusal | None:
    """None where it does not say who was refused, by which limit and with which error."""
    details = event.details
    workload = workloads.of_event(event)
    limit = LIMITS.get(text(details, "limit") or "")
    error = error_number(details.get("errno"))
    if workload is None or limit is None or error is None:
        return None
    owner = text(details, "limit_owner")
    also = [LIMITS[name] for name in texts(details, "also_reached") if name in LIMITS]
    return Refusal(
        time_ns=event.time_ns,
        victim=_victim(workload, inner(event.fields, "process")),
        error=error,
        refused=_REFUSED.get(text(details, "kind") or "", Refused.UNKNOWN),
        limit=limit,
        limit_value=count(details, "limit_value"),
        usage=count(details, "usage_value"),
        owner=owner,
        is_own_limit=details.get("is_own_limit") is True,
        knob=text(details, "knob") or "",
        evidence=_EVIDENCE.get(text(details, "evidence") or "", Evidence.INFERRED),
        also_reached=tuple(also[:_MAX_ENTRIES]),
        culprits=_culprits(details, workloads),
        refused_count=count(details, "refused_count") or 0,
        suppressed=count(details, "suppressed_count") or 0,
        pid_namespace_level=namespace_level(limit, owner),
    )


class _Head(NamedTuple):
    """Without which an episode cannot be told from others, or how it stands."""

    workload: Workload
    transition: Transition
    number: int
    state: State
    shape: Shape
    evidence: ExplosionEvidence
    tasks: int


def explosion_of(event: Event, workloads: Workloads) -> Explosion | None:
    """None where it lacks what tells an episode from others, or how it stands."""
    head = _head(event, workloads)
    return None if head is None else _explosion(event, workloads, head)


def _head(event: Event, workloads: Workloads) -> _Head | None:
    details = event.details
    episode = _EPISODE.match(text(details, "explosion_id") or "")
    values = (
        workloads.of_event(event),
        _TRANSITIONS.get(event.name.removeprefix(EXPLOSION)),
        None if episode is None else int(episode[1]),
        STATES.get(text(details, "state") or ""),
        _SHAPES.get(text(details, "shape") or ""),
        _evidence(inner(details, "evidence")),
        count(details, "tasks_count"),
    )
    return None if None in values else _Head._make(values)


def _explosion(event: Event, workloads: Workloads, head: _Head) -> Explosion:
    details = event.details
    workload, transition, episode, state, shape, evidence, tasks = head
    onset_ns = time_ns(details, "onset")
    at_start = count(details, "tasks_at_start")
    victims = _victims(details, workloads)
    victims_count = count(details, "victims_count") or 0
    return Explosion(
        transition=transition,
        number=episode,
        time_ns=event.time_ns,
        onset_ns=event.time_ns if onset_ns is None else onset_ns,
        workload=workload,
        state=state,
        shape=shape,
        evidence=evidence,
        tasks=tasks,
        tasks_at_start=tasks if at_start is None else at_start,
        tasks_peak=max(tasks, count(details, "tasks_peak") or 0),
        counts=totals(details),
        growth_per_second=number(details, "growth_per_second") or 0.0,
        rates=Rates(
            number(details, "threads_created_per_second") or 0.0,
            number(details, "processes_created_per_second") or 0.0,
            number(details, "exited_per_second") or 0.0,
        ),
        share_of_node_ratio=number(details, "share_of_node_ratio"),
        forecast=_forecast(details),
        process=_creating_process(inner(event.fields, "process"), details),
        thread_names=_thread_names(details),
        top_processes=processes_of(details.get("top_processes")),
        victims=victims,
        victims_count=max(victims_count, len(victims)),
        ended=_ended(transition, details),
    )


def _ended(transition: Transition, details: Fields) -> End | None:
    """Why it is over.

    Where no reason is told that is known here, all that is sure is that it is no longer watched.
    """
    if transition is not Transition.ENDED:
        return None
    return _ENDS.get(text(details, "ended_because") or "", End.AGENT_STOPPED)


def _evidence(fields: Fields) -> ExplosionEvidence | None:
    rule = text(fields, "rule")
    if rule is None:
        return None
    return ExplosionEvidence(
        rule,
        count(fields, "gained_count") or 0,
        number(fields, "growing_seconds") or 0.0,
        number(fields, "growth_per_second") or 0.0,
        number(fields, "threshold") or 0.0,
    )


def _forecast(details: Fields) -> Forecast | None:
    limit = LIMITS.get(text(details, "nearest_limit") or "")
    value, usage = count(details, "nearest_limit_value"), count(details, "nearest_limit_usage")
    if limit is None or value is None or usage is None:
        return None
    seconds = number(details, "seconds_to_exhaustion")
    owner = text(details, "nearest_limit_owner") or ""
    return Forecast(limit, owner, value, usage, seconds, text(details, "knob") or "")


def _creating_process(fields: Fields, details: Fields) -> CreatingProcess | None:
    pid = count(fields, "pid")
    if pid is None:
        return None
    return CreatingProcess(
        pid,
        text(inner(fields, "executable"), "name") or "",
        count(fields, "vpid"),
        count(fields, "parent_pid"),
        text(fields, "command_line"),
        text(details, "parent_command_line"),
    )


def _thread_names(details: Fields) -> tuple[ThreadName, ...]:
    found = []
    for entry in objects(details, "thread_names")[:_MAX_ENTRIES]:
        name, threads = text(entry, "name"), count(entry, "count")
        if name is not None and threads is not None:
            found.append(ThreadName(name, threads))
    return tuple(found)


def _victims(details: Fields, workloads: Workloads) -> tuple[VictimCount, ...]:
    found = []
    for entry in objects(details, "victims")[:_MAX_ENTRIES]:
        workload = workloads.of_label(inner(entry, "workload"))
        refused = count(entry, "refused_count")
        if workload is not None and refused is not None:
            found.append(VictimCount(workload, refused))
    return tuple(found)


def _victim(workload: Workload, process: Fields) -> Victim:
    thread = inner(process, "thread")
    pid = count(process, "pid") or 0
    return Victim(workload, pid, count(thread, "id") or 0, text(thread, "name") or "")


def _culprits(details: Fields, workloads: Workloads) -> tuple[Culprit, ...]:
    found = []
    for entry in objects(details, "culprits")[:_MAX_ENTRIES]:
        workload = workloads.of_label(inner(entry, "workload"))
        tasks = count(entry, "tasks_count")
        if workload is not None and tasks is not None:
            process = _largest_process(inner(entry, "process"))
            found.append(Culprit(workload, tasks, number(entry, "share_ratio"), process))
    return tuple(found)


def _largest_process(fields: Fields) -> LargestProcess | None:
    pid, threads = count(fields, "pid"), count(fields, "threads")
    if pid is None or threads is None:
        return None
    return LargestProcess(pid, text(fields, "name") or "", threads)
