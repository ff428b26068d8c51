"""Events: the envelope, one builder for each ``event.name``, and the line on the wire."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from threadtrace import __version__
from threadtrace.identity.workloads import Workload
from threadtrace.model.explosion import Explosion, Transition
from threadtrace.model.refusal import Culprit, Refusal
from threadtrace.model.snapshot import (
    EndedWorkload,
    Loss,
    NodeSnapshot,
    StartedWorkload,
    WorkloadSnapshot,
)
from threadtrace.output.explosions import (
    creating_process_fields,
    describe_explosion,
    explosion_fields,
    is_urgent,
    workload_forecast_fields,
)
from threadtrace.output.fields import (
    Fields,
    count_fields,
    node_fields,
    rates_fields,
    refusal_fields,
    shown_path,
    timestamp,
    victim_fields,
    without_refusals,
    workload_fields,
    workload_label,
)
from threadtrace.output.filters import EventFilter
from threadtrace.text import clean, error_name, printable

SCHEMA_VERSION = "1.0"

# Container runtimes split lines of 16 KiB and more.
MAX_LINE_BYTES = 16 * 1024 - 1

# The last surely fits: an event has some twenty texts, and JSON makes six bytes of a character.
_CLIPPED_CHARACTERS = (1024, 256, 64)

_INFO, _WARN, _ERROR = ("INFO", 9), ("WARN", 13), ("ERROR", 17)
_HIGH_USE_RATIO = 0.8


class _Rendered(NamedTuple):
    """A workload in JSON, which costs a quarter of the memory of the fields that it is made of."""

    workload: Workload
    name: str
    fields: dict[str, orjson.Fragment]
    label: orjson.Fragment


class EventWriter:
    """Numbers events and turns them into lines."""

    def __init__(
        self,
        environment: Mapping[str, str] = os.environ,
        counts_refusals: bool = True,
        run_id: str | None = None,
        admission: EventFilter | None = None,
    ) -> None:
        """A new run: its own ``agent.id`` unless one is given, sequence from 1.

        Args:
            environment: NODE_NAME is where it runs.
            counts_refusals: whether refused clones are counted here.
            run_id: the ``agent.id``.
            admission: which events there are; None: all. Of the others the line is empty.
        """
        self._admission = admission
        self._counts_refusals = counts_refusals
        self._sequence = 0
        self._agent = {
            "name": "threadtrace",
            "version": __version__,
            "id": run_id or str(uuid.uuid4()),
        }
        node_name = environment.get("NODE_NAME")
        self._k8s: Fields = {"node": {"name": node_name}} if node_name else {}
        self._host: Fields = {} if node_name else {"name": os.uname().nodename}
        # By key; of workloads that are there.
        self._rendered: dict[str, _Rendered] = {}
        self._last_timestamp = (0, timestamp(0))

    @property
    def run_id(self) -> str:
        """The ``agent.id``."""
        return str(self._agent["id"])

    def started(self, time_ns: int, details: Fields) -> bytes:
        """``threadtrace.started``."""
        missing = details.get("missing", [])
        hooks = len(details.get("hooks", []))
        message = f"threadtrace {__version__} counts through {hooks} hooks"
        if missing:
            effects = "; ".join(entry["effect"] for entry in missing)
            message += f"; limited: {effects}"
        return self._line(
            "threadtrace.started", time_ns, _WARN if missing else _INFO, message, details
        )

    def node_limits(self, time_ns: int, node: NodeSnapshot) -> bytes:
        """``threadtrace.node.limits``."""
        if node.used_ratio is None or node.nearest_limit is None:
            message, severity = "The node's limits cannot be read", _WARN
        else:
            limit = node.pid_max_usable if node.nearest_limit == "pid_max" else node.threads_max
            share = f"{node.used_ratio:.1%} of {node.nearest_limit} ({limit:,})"
            message = f"{node.tasks:,} tasks use {share}"
            severity = _WARN if node.used_ratio >= _HIGH_USE_RATIO else _INFO
            if node.seconds_to_exhaustion is not None:
                message += f"; used up in {node.seconds_to_exhaustion:,.0f} s at this growth"
        return self._line("threadtrace.node.limits", time_ns, severity, message, node_fields(node))

    def workload_rates(
        self, time_ns: int, snapshot: WorkloadSnapshot, interval_seconds: float
    ) -> bytes:
        """``threadtrace.workload.rates``."""
        counts = snapshot.counts
        message = (
            f"{self._render(snapshot.workload).name} created {counts.threads_created:,} threads "
            f"and {counts.processes_created:,} processes in {interval_seconds:.1f} s "
            f"and holds {snapshot.tasks:,} tasks"
        )
        if counts.refused:
            message += f"; {counts.refused:,} clones were refused"
        return self._line(
            "threadtrace.workload.rates",
            time_ns,
            _WARN if counts.refused else _INFO,
            message,
            {**rates_fields(snapshot, interval_seconds), **workload_forecast_fields(snapshot)},
            snapshot.workload,
        )

    def workload_started(self, started: StartedWorkload) -> bytes:
        """``threadtrace.workload.started``."""
        return self._line(
            "threadtrace.workload.started",
            started.time_ns,
            _INFO,
            f"{started.workload.name} appeared",
            {},
            started.workload,
        )

    def workload_ended(self, ended: EndedWorkload) -> bytes:
        """``threadtrace.workload.ended``."""
        totals = ended.totals
        message = (
            f"{ended.workload.name} is gone after {totals.threads_created:,} threads and "
            f"{totals.processes_created:,} processes"
        )
        details = {**count_fields(totals), "tasks_peak": ended.tasks_peak}
        line = self._line(
            "threadtrace.workload.ended", ended.time_ns, _INFO, message, details, ended.workload
        )
        self._rendered.pop(ended.workload.key, None)
        return line

    def fork_refused(self, refusal: Refusal) -> bytes:
        """``threadtrace.fork.refused``."""
        return self._line(
            "threadtrace.fork.refused",
            refusal.time_ns,
            _ERROR if refusal.is_of_node else _WARN,
            describe_refusal(refusal),
            refusal_fields(refusal),
            refusal.victim.workload,
            victim_fields(refusal.victim),
        )

    def explosion(self, explosion: Explosion) -> bytes:
        """``threadtrace.explosion.started``, ``.updated`` or ``.ended``."""
        severity = _ERROR if is_urgent(explosion) else _WARN
        if explosion.transition is Transition.ENDED:
            severity = _INFO
        onset = timestamp(explosion.onset_ns)
        return self._line(
            f"threadtrace.explosion.{explosion.transition.value}",
            explosion.time_ns,
            severity,
            describe_explosion(explosion),
            explosion_fields(explosion, str(self._agent["id"]), onset),
            explosion.workload,
            creating_process_fields(explosion.process),
        )

    def loss(self, time_ns: int, loss: Loss) -> bytes:
        """``threadtrace.loss``."""
        message = describe_loss(loss)
        details = {"where": loss.where, "lost_count": loss.lost}
        if loss.output is not None:
            details["output"] = clean(loss.output)
        return self._line("threadtrace.loss", time_ns, _ERROR, message, details)

    def _render(self, workload: Workload) -> _Rendered:
        """What says which workload an event is about, rendered once: half of an event."""
        known = self._rendered.get(workload.key)
        if known is None or known.workload is not workload:
            known = self._rendered[workload.key] = _Rendered(
                workload,
                workload.name,
                {name: _fragment(value) for name, value in self._about(workload).items()},
                _fragment(workload_label(workload)),
            )
        return known

    def _about(self, workload: Workload | None, process: Fields | None = None) -> Fields:
        """Which workload, which of its processes, and which node."""
        fields = {} if workload is None else workload_fields(workload)
        if process:
            fields["process"] = {**fields.get("process", {}), **process}
        if self._k8s:
            fields["k8s"] = {**fields.get("k8s", {}), **self._k8s}
        if self._host:
            fields["host"] = self._host
        return fields

    def _timestamp(self, time_ns: int) -> str:
        """All events of a tick have the same."""
        if self._last_timestamp[0] != time_ns:
            self._last_timestamp = time_ns, timestamp(time_ns)
        return self._last_timestamp[1]

    def _line(
        self,
        name: str,
        time_ns: int,
        severity: tuple[str, int],
        message: str,
        details: Fields,
        workload: Workload | None = None,
        process: Fields | None = None,
    ) -> bytes:
        if self._admission is not None and not self._admission.admits(
            name, severity[1], _namespace(workload)
        ):
            return b""
        self._sequence += 1
        if not self._counts_refusals:
            details = without_refusals(details)
        envelope: Fields = {
            "timestamp": self._timestamp(time_ns),
            "schema_version": SCHEMA_VERSION,
            "event": {"name": name, "sequence": self._sequence},
            "severity_text": severity[0],
            "severity_number": severity[1],
            "message": message,
            "agent": self._agent,
        }
        if workload is None:
            line = _encoded({**envelope, **self._about(None), "threadtrace": details})
        else:
            rendered = self._render(workload)
            details = {"workload": rendered.label, **details}
            about = rendered.fields if process is None else self._about(workload, process)
            line = _encoded({**envelope, **about, "threadtrace": details})
        if len(line) <= MAX_LINE_BYTES:
            return line
        if workload is not None:
            details["workload"] = workload_label(workload)
        about = self._about(workload, process)
        return _clipped_line({**envelope, **about, "threadtrace": details})


def _namespace(workload: Workload | None) -> str | None:
    names = None if workload is None else workload.names
    return None if names is None else names.k8s_namespace


# Where the limit is the node's, everybody on it suffers.


def describe_refusal(refusal: Refusal) -> str:
    """One sentence: what refused whom, who holds it, what to change."""
    victim = refusal.victim
    who = victim.workload.name
    if victim.pid:
        who += f" (PID {victim.pid}, {clean(victim.thread_name)})"
    parts = [f"clone by {who} refused with {error_name(refusal.error)}: {_limit_text(refusal)}"]
    if refusal.culprits:
        parts.append(_culprit_text(refusal.culprits[0]))
    if refusal.suppressed:
        parts.append(f"{refusal.suppressed:,} more since the last such event")
    parts.append(f"change {refusal.knob}")
    return printable("; ".join(parts))


def limit_words(refusal: Refusal) -> str:
    """The limit, its value and who has it."""
    text = refusal.limit.name.lower()
    if refusal.limit_value is not None:
        text += f" {refusal.limit_value:,}"
    if refusal.owner is not None:
        text += f" of {shown_path(refusal.owner)}"
    return text


def _limit_text(refusal: Refusal) -> str:
    text = limit_words(refusal)
    if refusal.usage is not None:
        text += f", {refusal.usage:,} in use"
    return text


def _culprit_text(culprit: Culprit) -> str:
    text = f"{culprit.workload.name} holds {_plural(culprit.tasks, 'task')}"
    if culprit.share_ratio is not None:
        text += f" ({culprit.share_ratio:.0%})"
    if culprit.process is not None and culprit.process.name:
        process = culprit.process
        threads = _plural(process.threads, "thread")
        text += f", most in {process.name} (PID {process.pid}) with {threads}"
    return text


_LOSSES = {
    "cgroups_map": "births and deaths in cgroups that the map had no room for; raise --max-cgroups",
    "refusals_map": "refusals in cgroups that the map had no room for; raise --max-cgroups",
    "processes_map": "creations that could not be filed under their process (the workload's count "
    "is exact)",
    "records_ring": "notices of cgroups that came or went (found again through the file system)",
    "refusal_records": "notices of refused clones (counted, and told with the next event)",
    "burst_records": "notices of many births at once (the next tick sees what grew)",
    "explosions": "growing workloads that could not be followed: too many grow at a time",
    "recorder": "events that the flight recorder could not keep or write",
    "kernel_programs": "runs that the kernel skipped",
    "return_probes": "returns of clone that no return probe saw: refusals among them are not "
    "counted; --refusal-hook tracepoint sees them all",
    "output": "events that could not be written",
    "rate_limit": "events beyond max_workload_events_per_second of --filters",
    "connection": "events that this reader of the agent's socket was too slow for (every workload "
    "is told anew)",
}


def describe_loss(loss: Loss) -> str:
    """One sentence that says what was lost and what would help."""
    return f"{loss.lost:,} lost: {_LOSSES.get(loss.where, loss.where)}"


def _plural(count: int, noun: str) -> str:
    return f"1 {noun}" if count == 1 else f"{count:,} {noun}s"


def _fragment(value: Fields) -> orjson.Fragment:
    # A copy: what orjson returns keeps the whole buffer in which it was written.
    return orjson.Fragment(bytes(memoryview(orjson.dumps(value))))


def _encoded(event: Fields) -> bytes:
    # A copy, for the same reason: lines wait for slow outputs and for readers that come back.
    return b"".join((orjson.dumps(event), b"\n"))


def _clipped_line(event: Fields) -> bytes:
    """An event that fits. Only names can be that long: what is counted stays."""
    line = b""
    for length in _CLIPPED_CHARACTERS:
        clipped_event = _clipped(event, length)
        clipped_event["threadtrace"]["is_truncated"] = True
        line = _encoded(clipped_event)
        if len(line) <= MAX_LINE_BYTES:
            break
    return line


def _clipped(value: Any, length: int) -> Any:
    """A copy in which no text is longer than that."""
    if isinstance(value, str):
        return value[:length]
    if isinstance(value, dict):
        return {name: _clipped(inner, length) for name, inner in value.items()}
    if isinstance(value, list):
        return [_clipped(inner, length) for inner in value]
    return value
