"""What the flight recorder costs: ``python -m bench.record_cost [DIRECTORY]``.

Workloads of pods, each active in every tick, with counts that differ from tick to tick and three
processes each. Processor time of a tick within ``Recorder.on_snapshot``: rendering and compressing;
beside it, rendering alone. Then a trigger: how long writing the whole window takes, and its end
with fsync.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

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
_NAMES = ("java", "dotnet", "python3", "node", "nginx", "envoy", "postgres", "redis-server")


class _Hand:
    """A monotonic clock that goes a second a tick."""

    seconds = 1_000.0


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


def _row(count: int, directory: str) -> str:
    chance = random.Random(count)
    abouts = [_workload(chance, number) for number in range(count)]
    hand = _Hand()
    options = RecorderOptions()
    recorder = Recorder(
        EventWriter({}),
        RecordDirectory(directory, options.max_total_bytes),
        options,
        Clock(lambda: int(hand.seconds * NANOSECONDS)),
    )
    recorder.on_start(0, {})
    writer = EventWriter({})
    ticks, renders = [], []
    # Until the window holds what it may: ten minutes, or its bytes. Not all of it is timed.
    for tick in range(_TICKS):
        snapshot = _snapshot(chance, abouts, tick)
        hand.seconds += 1.0
        began = time.process_time()
        recorder.on_snapshot(snapshot)
        ticks.append(time.process_time() - began)
        renders.append(_render_seconds(snapshot, writer))
    kept = recorder._window.bytes_kept
    per_tick = kept / _TICKS
    snapshot_again = [_snapshot(chance, abouts, tick) for tick in range(4)]
    for tick in range(600 - _TICKS):
        hand.seconds += 1.0
        recorder.on_snapshot(snapshot_again[tick % 4])
        if recorder._window.cut_lines():
            break
    window_seconds = tick + 1 + _TICKS
    kept = recorder._window.bytes_kept
    began = time.perf_counter()
    recorder.on_happenings(Happenings([], [_refusal(abouts[0])], []))
    dump = time.perf_counter() - began
    began = time.perf_counter()
    recorder.close()
    end = time.perf_counter() - began
    middle = _TICKS // 2
    return (
        f"{count:>6,} {sorted(ticks)[middle] * 1e3:>9.1f} {sorted(renders)[middle] * 1e3:>9.1f} "
        f"{per_tick:>10,.0f} {kept / 2**20:>8.1f} {window_seconds:>8} {dump * 1e3:>8.1f} "
        f"{end * 1e3:>8.1f}"
    )


def main() -> None:
    """Print one line for each number of active workloads."""
    head = ("active", "tick ms", "render ms", "bytes/tick", "MiB", "window s", "dump ms", "end ms")
    widths = (6, 9, 9, 10, 8, 8, 8, 8)
    print(" ".join(f"{word:>{width}}" for word, width in zip(head, widths)))
    above = sys.argv[1] if len(sys.argv) > 1 else None
    for count in (50, 500, 5_000, 10_000):
        with tempfile.TemporaryDirectory(dir=above) as directory:
            print(_row(count, directory), flush=True)
            assert len(list(Path(directory).iterdir())) == 1


if __name__ == "__main__":
    main()
