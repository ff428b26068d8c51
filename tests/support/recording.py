"""A flight recorder under test: its clock, what it is told, and what it left on the disk."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from threadtrace.clock import NANOSECONDS, Clock
from threadtrace.identity.workloads import Workload, identify
from threadtrace.model.explosion import (
    End,
    Explosion,
    Rates,
    Shape,
    State,
    Transition,
)
from threadtrace.model.explosion import (
    Evidence as ExplosionEvidence,
)
from threadtrace.model.refusal import Refusal, Victim
from threadtrace.model.snapshot import (
    Happenings,
    Loss,
    NodeSnapshot,
    Snapshot,
    Totals,
    WorkloadSnapshot,
)
from threadtrace.output.events import EventWriter
from threadtrace.output.record_files import RecordDirectory
from threadtrace.output.recorder import Recorder, RecorderOptions
from threadtrace.probe.records import Evidence, Limit, Refused

MIDNIGHT_NS = 1_795_478_400 * NANOSECONDS
"""2026-11-24, UTC."""
STARTED = {
    "kernel_release": "6.12.1",
    "cgroup_mode": "v2",
    "pids_cgroup_version": 2,
    "hooks": [
        {"program": program, "kind": "tracepoint", "target": program[3:], "reason": "no BTF"}
        for program in (
            "on_task_newtask",
            "on_sched_process_exit",
            "on_cgroup_mkdir",
            "on_cgroup_rmdir",
            "on_cgroup_rename",
            "on_cgroup_attach_task",
        )
    ],
    "missing": [],
    "tracefs_mounted_privately": False,
    "node": {"tasks_count": 500},
    "interval_seconds": 1.0,
}
SMALL = RecorderOptions(min_free_bytes=0)


class HandClock:
    """Goes when told."""

    def __init__(self) -> None:
        self.seconds = 100.0
        self.realtime_ns = MIDNIGHT_NS

    def clock(self) -> Clock:
        return Clock(lambda: int(self.seconds * NANOSECONDS), lambda: self.realtime_ns)

    def advance(self, seconds: float) -> None:
        self.seconds += seconds
        self.realtime_ns += int(seconds * NANOSECONDS)


def container(number: int) -> Workload:
    """The number is its id's beginning."""
    return identify(f"/system.slice/docker-{number:08x}{'e' * 56}.scope")


def rates(number: int, created: int = 7) -> WorkloadSnapshot:
    """Active when it created anything; its counts differ, as those of real workloads do."""
    counts = Totals(created, created // 3, created // 2)
    about = container(number)
    tasks = 20 + number % 977
    # The last are empty processes and whether it is active.
    return WorkloadSnapshot(
        about, 1.0, counts, {}, tasks, tasks, 4096, about.cgroup_path, tasks, 0.5, (), created > 0
    )


def refusal(number: int = 1, time_ns: int = MIDNIGHT_NS) -> Refusal:
    """Of the container with that number."""
    about = container(number)
    return Refusal(
        time_ns=time_ns,
        victim=Victim(about, 99, 99, "runc"),
        error=11,
        refused=Refused.PROCESS,
        limit=Limit.PIDS_MAX,
        limit_value=300,
        usage=300,
        owner=about.cgroup_path,
        is_own_limit=True,
        knob="pids.max",
        evidence=Evidence.INFERRED,
        also_reached=(),
        culprits=(),
        refused_count=1,
        suppressed=0,
    )


def explosion(transition: Transition, number: int = 1) -> Explosion:
    """Of the container with that number."""
    is_over = transition is Transition.ENDED
    return Explosion(
        transition=transition,
        number=number,
        time_ns=MIDNIGHT_NS,
        onset_ns=MIDNIGHT_NS - NANOSECONDS,
        workload=container(number),
        state=State.QUIET if is_over else State.EXPLODING,
        shape=Shape.LEAK,
        evidence=ExplosionEvidence("leak", 200, 20.0, 10.0, 128.0),
        tasks=220,
        tasks_at_start=20,
        tasks_peak=220,
        counts=Totals(200, 0, 0, 0),
        growth_per_second=10.0,
        rates=Rates(10.0, 0.0, 0.0),
        share_of_node_ratio=None,
        forecast=None,
        process=None,
        thread_names=(),
        top_processes=(),
        victims=(),
        victims_count=0,
        ended=End.FELL_BACK if is_over else None,
    )


@dataclass
class Recording:
    """A recorder that writes into a directory."""

    path: Path
    options: RecorderOptions = SMALL
    time: HandClock = field(default_factory=HandClock)

    def __post_init__(self) -> None:
        self.recorder = self.start()

    def start(self) -> Recorder:
        """Another run of the agent."""
        options = self.options
        directory = RecordDirectory(str(self.path), options.max_total_bytes, options.min_free_bytes)
        recorder = Recorder(EventWriter({}), directory, options, self.time.clock())
        recorder.on_start(self.time.realtime_ns, STARTED)
        return recorder

    def tick(
        self,
        *workloads: WorkloadSnapshot,
        seconds: float = 1.0,
        refusals: tuple[Refusal, ...] = (),
        explosions: tuple[Explosion, ...] = (),
        losses: tuple[Loss, ...] = (),
    ) -> None:
        """That much later."""
        self.time.advance(seconds)
        node = NodeSnapshot(seconds, Totals(), 500, 32_768, 32_468, 90_000, "pid_max", 0.0154)
        snapshot = Snapshot(
            self.time.realtime_ns, node, workloads, (), refusals, losses, explosions
        )
        self.recorder.on_snapshot(snapshot)

    def refuse(self, number: int = 1) -> None:
        """Between two ticks."""
        self.recorder.on_happenings(Happenings([], [refusal(number, self.time.realtime_ns)], []))

    def explode(self, transition: Transition, number: int = 1) -> None:
        """Between two ticks."""
        told = replace_time(explosion(transition, number), self.time.realtime_ns)
        self.recorder.on_happenings(Happenings([], [], [told]))

    def until_calm(self, seconds: int = 70) -> None:
        """Ticks without any news."""
        for _ in range(seconds):
            self.tick()

    def names(self) -> list[str]:
        """Of all files, in the order of their names."""
        return sorted(entry.name for entry in self.path.iterdir())

    def only(self) -> Path:
        """The one file that is there."""
        (name,) = self.names()
        return self.path / name


def replace_time(told: Explosion, time_ns: int) -> Explosion:
    """The same at another time."""
    return told._replace(time_ns=time_ns, onset_ns=time_ns - NANOSECONDS)


def with_options(**changes: Any) -> RecorderOptions:
    """Without a bound for the free space, and what else is given."""
    return replace(SMALL, **changes)


def events_of(path: Path) -> list[dict[str, Any]]:
    """Of a record; it must be whole."""
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def names_of(path: Path) -> list[str]:
    """What its events are, in order, without what they all begin with."""
    return [event["event"]["name"].removeprefix("threadtrace.") for event in events_of(path)]
