"""How long a tick takes when every one of many cgroups is active.

Real cgroups, named as the kubelet names them, with the files that containerd and the kubelet
would have left. ``Pipeline.tick`` runs in this process against the live kernel programs. Between
two ticks either one worker moves itself through all cgroups and forks in each (``visited``), or
a resident of each cgroup forks once (``inhabited``). The clock counts what else ran on the
machine meanwhile, the thread's processor time does not.
"""

from __future__ import annotations

import gc
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.cgroups import make_pods, own_cgroup
from bench.figures import Result, Row, Spread
from bench.runtime_files import write_runtime_files
from bench.workloads import listed, started, workload
from threadtrace.agent import Agent, AgentOptions, start_agent
from threadtrace.output.events import EventWriter
from threadtrace.output.sink import LineSink
from threadtrace.output.stream import EventStream

_TARGET_SECONDS = {1_000: 0.010, 10_000: 0.100}
_SPARE_TASKS = 64
_WARM_UP_ROUNDS = 3


@dataclass
class Timings:
    """Seconds, one entry a round."""

    records: list[float] = field(default_factory=list)
    tick: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    """Of the tick, this thread's processor time."""
    render: list[float] = field(default_factory=list)


def measure(quick: bool = False) -> Result:
    rows: list[Row] = []
    for count in (1_000,) if quick else (1_000, 10_000):
        for mode in ("visited", "inhabited"):
            rounds = 5 if quick else 20
            with loaded_node(count, mode) as (agent, work):
                rows += _rows(count, mode, time_ticks(agent, work, rounds, count))
    return Result("ticks", __doc__ or "", tuple(rows))


@contextmanager
def loaded_node(count: int, mode: str) -> Iterator[tuple[Agent, Callable[[], None]]]:
    """An agent on a node with that many cgroups, and what makes each of them active once."""
    with (
        tempfile.TemporaryDirectory(prefix="threadtrace-bench-") as root,
        own_cgroup(2 * count + _SPARE_TASKS) as top,
        ExitStack() as stack,
    ):
        paths = make_pods(top, count)
        write_runtime_files(Path(root), count // 4 + 1)
        listing = stack.enter_context(listed(paths))
        if mode == "visited":
            command = [workload("visit"), listing, top]
        else:
            command = [workload("inhabit"), listing]
        with started(top, command) as process:
            if mode == "inhabited":
                _await(process)
            options = AgentOptions(max_cgroups=2 * count + 1_000, host_root=Path(root))
            with start_agent(options) as agent:
                yield agent, lambda: _work(process)


def time_ticks(agent: Agent, work: Callable[[], None], rounds: int, count: int) -> Timings:
    timings = Timings()
    sink_fd = os.open(os.devnull, os.O_WRONLY)
    stream = EventStream(EventWriter(), LineSink(sink_fd, "null", lambda: False), False)
    gc.collect()
    gc.freeze()
    gc.disable()  # as the agent's loop does
    try:
        for number in range(rounds + _WARM_UP_ROUNDS):
            work()
            times = [time.perf_counter()]
            agent.pipeline.handle_records()
            used = time.thread_time()
            times.append(time.perf_counter())
            snapshot = agent.pipeline.tick()
            times.append(time.perf_counter())
            used = time.thread_time() - used
            stream.on_snapshot(snapshot)
            times.append(time.perf_counter())
            active = sum(workload.is_active for workload in snapshot.workloads)
            if active < count:
                raise AssertionError(f"{active} of {count} workloads were active")
            if number >= _WARM_UP_ROUNDS:
                timings.records.append(times[1] - times[0])
                timings.tick.append(times[2] - times[1])
                timings.processor.append(used)
                timings.render.append(times[3] - times[2])
    finally:
        gc.enable()
        gc.unfreeze()
        os.close(sink_fd)
    return timings


def _rows(count: int, mode: str, timings: Timings) -> list[Row]:
    tick = Spread.of(timings.tick)
    target = _TARGET_SECONDS[count]
    what = f"{count:,} active cgroups, {mode}"
    return [
        Row(
            f"one tick, {what}",
            tick.text("ms", 1, 1e3),
            f"{target * 1e3:.0f} ms",
            tick.median <= target,
        ),
        Row(f"its processor time, {what}", Spread.of(timings.processor).text("ms", 1, 1e3)),
        Row(f"its events as JSON, {what}", Spread.of(timings.render).text("ms", 1, 1e3)),
    ]


def _work(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.write(b".")
    _await(process)


def _await(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    if not process.stdout.read(1):
        raise RuntimeError(f"the workload ended with code {process.wait()}")
