"""Event lines for tests of the report, after docs/events.md, and a report of them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from threadtrace.report.collecting import Recording, collect
from threadtrace.report.incident import report_of
from threadtrace.report.loading import chosen_node
from threadtrace.report.model import Report
from threadtrace.report.notes import Notes
from threadtrace.report.reading import EventReader

AGENT = "31e6665c-8a62-4c17-989f-2e6a51bb108b"
T0 = datetime(2026, 11, 24, 10, 0, 0, tzinfo=timezone.utc)
POD = "/kubepods/burstable/pod6a1f2b3c-1111-4222-8333-444455556666"

Event = dict[str, Any]
Details = dict[str, Any]


def stamp(seconds: float) -> str:
    """So many seconds after T0."""
    moment = T0 + timedelta(seconds=seconds)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond * 1000:09d}Z"


def ns(seconds: float) -> int:
    return int(T0.timestamp() * 1_000_000_000) + int(seconds * 1_000_000_000)


class Stream:
    """Events of one run of an agent, numbered as they are made."""

    def __init__(self, agent: str = AGENT, node: str = "node-1", version: str = "1.0") -> None:
        self.events: list[Event] = []
        self._agent = agent
        self._node = node
        self._version = version

    def add(
        self,
        name: str,
        seconds: float,
        details: Details | None = None,
        workload: tuple[str, str] | None = None,
        process: Details | None = None,
    ) -> Event:
        """Any event. A workload is its name and its cgroup."""
        details = dict(details or {})
        event: Event = {
            "timestamp": stamp(seconds),
            "schema_version": self._version,
            "event": {"name": f"threadtrace.{name}", "sequence": len(self.events) + 1},
            "severity_text": "INFO",
            "severity_number": 9,
            "message": "for people",
            "agent": {"name": "threadtrace", "version": "0.2.0", "id": self._agent},
            "host": {"name": self._node},
        }
        if workload is not None:
            details = {"workload": label(workload[0]), **details}
            event["process"] = {"linux": {"cgroup": workload[1]}, **(process or {})}
        event["threadtrace"] = details
        self.events.append(event)
        return event

    def started(self, seconds: float = 0, missing: Sequence[Details] = ()) -> Event:
        details = {"kernel_release": "6.12.1", "interval_seconds": 1.0, "missing": list(missing)}
        return self.add("started", seconds, details)

    def node(
        self, seconds: float, tasks: int, refused: int | None = 0, pid_max: int = 32_468
    ) -> Event:
        details = {
            "interval_seconds": 1.0,
            "tasks_count": tasks,
            "pid_max_limit": pid_max + 300,
            "pid_max_usable_limit": pid_max,
            "threads_max_limit": 192_730,
            "threads_created_count": 0,
            "processes_created_count": 0,
            "exited_count": 0,
        }
        if refused is not None:
            details["refused_count"] = refused
        return self.add("node.limits", seconds, details)

    def rates(
        self,
        seconds: float,
        workload: tuple[str, str],
        tasks: int,
        limit: tuple[int, str, int] | None = None,
        **more: Any,
    ) -> Event:
        """`limit` is its value, its owner and what is used of it."""
        details: Details = {
            "interval_seconds": 1.0,
            "threads_created_count": 20,
            "processes_created_count": 0,
            "exited_count": 0,
            "tasks_count": tasks,
            "tasks_peak": tasks,
            **more,
        }
        if limit is not None:
            names = ("tasks_limit", "tasks_limit_owner", "tasks_limit_usage")
            details.update(zip(names, limit))
        return self.add("workload.rates", seconds, details, workload)

    def refused(
        self,
        seconds: float,
        victim: tuple[str, str],
        refused: int,
        suppressed: int = 0,
        limit: str = "pids_max",
        owner: str = POD,
        value: int = 300,
        culprits: Sequence[Details] = (),
        **more: Any,
    ) -> Event:
        details = {
            "errno": "EAGAIN",
            "limit": limit,
            "limit_value": value,
            "usage_value": value,
            "limit_owner": owner,
            "is_own_limit": False,
            "also_reached": [],
            "knob": "podPidsLimit of the kubelet (the limit of every pod on this node)",
            "evidence": "inferred",
            "culprits": list(culprits),
            "refused_count": refused,
            "suppressed_count": suppressed,
            **more,
        }
        return self.add("fork.refused", seconds, details, victim, {"pid": 4711})

    def explosion(
        self,
        what: str,
        seconds: float,
        workload: tuple[str, str],
        state: str,
        number: int = 1,
        process: Details | None = None,
        **more: Any,
    ) -> Event:
        details = {"explosion_id": f"{self._agent[:8]}-{number}", "state": state, **more}
        return self.add(f"explosion.{what}", seconds, details, workload, process)

    @property
    def lines(self) -> list[bytes]:
        return [json.dumps(event).encode() for event in self.events]

    def write(self, path: Path) -> Path:
        path.write_bytes(b"".join(line + b"\n" for line in self.lines))
        return path


LEAK = ("shop/checkout-7d9f/web", f"{POD}/4f4f")
VICTIM = ("shop/checkout-7d9f/sidecar", f"{POD}/c7c7")


def label(name: str) -> Details:
    return {"kind": "container", "name": name}


def culprit(name: str, tasks: int, share: float, pid: int = 12457) -> Details:
    process = {"pid": pid, "name": "java", "threads": tasks}
    return {
        "workload": label(name),
        "tasks_count": tasks,
        "share_ratio": share,
        "process": process,
    }


def incident(leak: tuple[str, str] = LEAK, victim: tuple[str, str] = VICTIM) -> Stream:
    """A leak that uses up the limit of its pod; its neighbour is refused 41 times, itself 60."""
    stream = Stream()
    stream.started()
    tasks = 12
    for second in range(1, 41):
        if 5 <= second < 30:
            tasks = min(299, tasks + 20)
        if second >= 34:
            tasks = 12
        wave = 150 + int(20 * math.sin(second / 3))
        is_full = 20 <= second < 30
        stream.node(second, 100 + wave + tasks, refused=10 if is_full else 0)
        stream.rates(second, ("kubelet.service", "/system.slice/kubelet.service"), wave)
        stream.rates(second, leak, tasks, (300, POD, tasks + 1), growth_per_second=20.0)
        stream.rates(second, victim, 1, (300, POD, tasks + 1))
        _explosion(stream, second, leak, tasks)
        if is_full:
            turn = second - 20
            holders = [culprit(leak[0], 299, 0.9967), culprit(victim[0], 1, 0.0033, 12756)]
            stream.refused(
                second + 0.2, victim, 1 + 4 * turn + (turn == 9) * 4,
                (3 + (turn == 9) * 4) if turn else 0, culprits=holders,
            )  # fmt: skip
            stream.refused(second + 0.3, leak, 6 + 6 * turn, 5, culprits=holders)
    return stream


def _explosion(stream: Stream, second: int, leak: tuple[str, str], tasks: int) -> None:
    """Called at 10, exhausted at 20, over at 36."""
    if second not in (10, 15, 20, 25, 33, 36):
        return
    what = {10: "started", 36: "ended"}.get(second, "updated")
    state = "exploding" if second < 20 else "exhausted" if second < 33 else "recovering"
    more: Details = {}
    if what == "started":
        more["reason"] = "120 tasks more than 6 s ago, 60 are needed, and none exited"
    if what == "ended":
        state, more = "quiet", {"ended_because": "fell_back"}
    if state == "exploding":
        more["seconds_to_exhaustion"] = (300 - tasks) / 20
    stream.explosion(
        what, second + 0.1, leak, state,
        process={"pid": 12457, "executable": {"name": "java"}, "command_line": "java -jar s.jar"},
        shape="leak", onset=stamp(4.5), tasks_at_start=12, tasks_count=tasks,
        tasks_peak=min(299, 12 + 20 * max(0, second - 4)), growth_per_second=20.0,
        nearest_limit="pids_max", nearest_limit_owner=POD, nearest_limit_value=300,
        nearest_limit_usage=tasks + 1, knob="podPidsLimit of the kubelet "
        "(the limit of every pod on this node)",
        thread_names=[{"name": "pool-#-thread-#", "count": max(0, tasks - 20)}],
        top_processes=[{"pid": 12457, "name": "java", "threads": tasks, "created_count": 20}],
        parent_command_line="/bin/sh /entrypoint.sh", share_of_node_ratio=0.5, **more,
    )  # fmt: skip


def read(lines: Sequence[bytes]) -> Recording:
    notes = Notes()
    return collect(EventReader(notes).read(lines), notes)


def reported(stream: Stream | Sequence[bytes], node: str | None = None) -> Report:
    recording = read(stream.lines if isinstance(stream, Stream) else stream)
    return report_of(recording, chosen_node(recording, node), "recording.jsonl")
