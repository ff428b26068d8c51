"""A recording of workloads that all change in every tick, in an order that stays."""

from __future__ import annotations

import os
import random
from pathlib import Path

from bench.cgroups import pod_uid
from threadtrace.clock import NANOSECONDS
from threadtrace.identity.runtimes import ContainerNames
from threadtrace.identity.workloads import Workload, WorkloadKind
from threadtrace.model.snapshot import (
    NodeSnapshot,
    ProcessSnapshot,
    Snapshot,
    Totals,
    WorkloadSnapshot,
)
from threadtrace.output.events import EventWriter
from threadtrace.output.sink import LineSink
from threadtrace.output.stream import EventStream

_BEGIN_SECONDS = 1_795_478_400
_DETAILS = {"kernel_release": "6.18", "hooks": [], "missing": [], "interval_seconds": 1.0}


def name_of(place: int) -> str:
    """Of the workload that stands there, 0 being the first line."""
    return f"ns{place % 20:02}/service-{place:05}/main"


def write_recording(path: Path, workloads: int, ticks: int) -> None:
    """One tick a second, with every workload in each."""
    chance = random.Random(workloads)
    abouts = [_about(chance, place) for place in range(workloads)]
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    try:
        stream = EventStream(EventWriter(), LineSink(fd, str(path), lambda: False), True)
        stream.on_start(_BEGIN_SECONDS * NANOSECONDS, dict(_DETAILS))
        for tick in range(1, ticks + 1):
            stream.on_snapshot(_snapshot(chance, abouts, tick))
    finally:
        os.close(fd)


def _about(chance: random.Random, place: int) -> Workload:
    container_id, uid = f"{chance.getrandbits(256):064x}", pod_uid(place)
    namespace, pod, container = name_of(place).split("/")
    names = ContainerNames(
        "containerd", container, "registry/app:1.2", namespace, pod, uid, container, False
    )
    path = f"/kubepods/burstable/pod{uid}/{container_id}"
    key = f"container:{container_id}"
    return Workload(WorkloadKind.CONTAINER, key, path, container_id, uid, "containerd", None, names)


def _snapshot(chance: random.Random, abouts: list[Workload], tick: int) -> Snapshot:
    node = NodeSnapshot(1.0, Totals(), 20_000, 4_194_304, 4_194_004, 4_000_000, "pid_max", 0.6)
    count = len(abouts)
    shots = [_shot(chance, about, 20 + 2 * (count - n)) for n, about in enumerate(abouts)]
    return Snapshot((_BEGIN_SECONDS + tick) * NANOSECONDS, node, tuple(shots), (), (), ())


def _shot(chance: random.Random, about: Workload, tasks: int) -> WorkloadSnapshot:
    tasks += chance.randrange(2)
    born = chance.randrange(20)
    pid = 1_000 + tasks * 3
    top = tuple(ProcessSnapshot(pid + place, "java", tasks // place, 1) for place in (1, 2, 3))
    counts = Totals(born, 3, born + 3, 0)
    limit = 2 * tasks + 1_000
    return WorkloadSnapshot(
        about, 1.0, counts, {}, tasks, tasks, limit, about.cgroup_path, tasks, 0.0, top, True
    )
