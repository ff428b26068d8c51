"""What the flight recorder costs.

Workloads of pods, each active in every tick, with counts that differ from tick to tick and three
processes each. Processor time of a tick within ``Recorder.on_snapshot``: rendering and compressing;
beside it, rendering alone. Then a trigger: how long it takes until the whole window is on the disk
of temporary files.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Iterator, Sequence

from bench.figures import Result, Row, Spread
from threadtrace.clock import NANOSECONDS, Clock
from threadtrace.identity.runtimes import ContainerNames
from threadtrace.identity.workloads import Workload, WorkloadKind
from threadtrace.model.refusal import Refusal, Victim
from threadtrace.model.snapshot import (
    Happenings,
    NodeSnapshot,
    ProcessSnapshot,
    Snapshot,
    Totals,
    WorkloadSnapshot,
)
from threadtrace.output.events import EventWriter
from threadtrace.output.record_files import RecordDirectory
from threadtrace.output.recorder import Recorder, RecorderOptions
from threadtrace.probe.records import Evidence, Limit, Refused

_TICKS = 20
_WINDOW_SECONDS = 600
_NAMES = ("java", "dotnet", "python3", "node", "nginx", "envoy", "postgres", "redis-server")


def _workload(chance: random.Random, number: int) -> Workload:
    container_id = f"{chance.getrandbits(256):064x}"
    pod = f"{chance.getrandbits(128):032x}"
    uid = f"{pod[:8]}-{pod[8:12]}-{pod[12:16]}-{pod[16:20]}-{pod[20:]}"
    name = f"service-{number % 40}-{chance.getrandbits(40):010x}"
    names = ContainerNames(
        "containerd", "main", "registry/app:1.2", f"team-{number % 20}", name, uid, "main", False
    )
    path = f"/kubepods/burstable/pod{uid}/{container_id}"
    return Workload(
        WorkloadKind.CONTAINER,
        f"container:{container_id}",
        path,
        container_id,
        uid,
        "containerd",
        None,
        names,
    )


def _active(chance: random.Random, about: Workload, number: int) -> WorkloadSnapshot:
    threads, processes, exited = (chance.randrange(200) for _ in range(3))
    tasks = 20 + chance.randrange(400)
    top = tuple(
        ProcessSnapshot(number * 7 + place, _NAMES[(number + place) % 8], tasks // place, place)
        for place in (1, 2, 3)
    )
    counts = Totals(threads, processes, exited, 0)
    growth = chance.random() * 10
    path = about.cgroup_path
    return WorkloadSnapshot(
        about, 1.0, counts, {}, tasks, tasks + 50, 4096, path, tasks, growth, top, True
    )


def _snapshot(chance: random.Random, abouts: list[Workload], tick: int) -> Snapshot:
    node = NodeSnapshot(1.0, Totals(), 20_000, 32_768, 32_468, 90_000, "pid_max", 0.6)
    workloads = tuple(_active(chance, about, number) for number, about in enumerate(abouts))
    return Snapshot((1_795_478_400 + tick) * NANOSECONDS, node, workloads, (), (), ())


def _refusal(about: Workload) -> Refusal:
    return Refusal(
        1_795_478_400 * NANOSECONDS,
        Victim(about, 9, 9, "runc"),
        11,
        Refused.PROCESS,
        Limit.PIDS_MAX,
        300,
        300,
        about.cgroup_path,
        True,
        "pids.max",
        Evidence.INFERRED,
        (),
        (),
        1,
        0,
    )


def _render_seconds(snapshot: Snapshot, writer: EventWriter) -> float:
    began = time.process_time()
    for workload in snapshot.workloads:
        writer.workload_rates(snapshot.time_ns, workload, 1.0)
    return time.process_time() - began


class _Recording:
    """A recorder in a directory, and the clock that it goes by."""

    def __init__(self, directory: str) -> None:
        options = RecorderOptions()
        self._now_s = 1_000.0
        self._recorder = Recorder(
            EventWriter({}),
            RecordDirectory(directory, options.max_total_bytes),
            options,
            Clock(lambda: int(self._now_s * NANOSECONDS)),
        )
        self._recorder.on_start(0, {})

    def tick(self, snapshot: Snapshot) -> float:
        """Processor seconds that it took."""
        self._now_s += 1.0
        began = time.process_time()
        self._recorder.on_snapshot(snapshot)
        return time.process_time() - began

    def fill(self, snapshots: Sequence[Snapshot], done: int) -> int:
        """Until it holds ten minutes, or its bytes; how many seconds that are."""
        for second in range(done + 1, _WINDOW_SECONDS + 1):
            self.tick(snapshots[second % len(snapshots)])
            if self._recorder.window.cut_lines():
                return second
        return _WINDOW_SECONDS

    @property
    def kept_bytes(self) -> int:
        return self._recorder.window.bytes_kept

    def write(self, about: Workload) -> float:
        """Seconds until what it holds is on the disk."""
        began = time.perf_counter()
        self._recorder.on_happenings(Happenings([], [_refusal(about)], []))
        self._recorder.close()
        return time.perf_counter() - began


def measure(quick: bool) -> Result:
    """For several numbers of active workloads."""
    counts = (50,) if quick else (50, 500, 5_000)
    return Result("records", __doc__ or "", tuple(row for n in counts for row in _rows(n)))


def _rows(count: int) -> Iterator[Row]:
    chance = random.Random(count)
    abouts = [_workload(chance, number) for number in range(count)]
    writer = EventWriter({})
    with tempfile.TemporaryDirectory() as directory:
        recording = _Recording(directory)
        ticks, renders = [], []
        for tick in range(_TICKS):
            snapshot = _snapshot(chance, abouts, tick)
            ticks.append(recording.tick(snapshot))
            renders.append(_render_seconds(snapshot, writer))
        a_tick = recording.kept_bytes / _TICKS
        again = [_snapshot(chance, abouts, tick) for tick in range(4)]
        seconds = recording.fill(again, _TICKS)
        kept = recording.kept_bytes
        written = recording.write(abouts[0])
    what = f"{count:,} workloads active in every tick"
    rendering = Spread.of(renders).text("ms", factor=1e3)
    yield Row(
        f"a tick of the flight recorder, {what}",
        Spread.of(ticks).text("ms", factor=1e3),
        peer=f"rendering alone {rendering}",
    )
    yield Row("  kept of a tick, compressed", f"{a_tick / 1e3:,.0f} kB")
    yield Row("  of the last ten minutes kept", f"{seconds:,} s in {kept / 2**20:.1f} MiB")
    yield Row("  written to the disk", f"{written * 1e3:.0f} ms")
