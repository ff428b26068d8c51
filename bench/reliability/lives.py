"""containerd is killed, the agent is killed and started again, the clock is set back.

containerd is killed by SIGKILL, a container that runs creates a prime number of threads meanwhile,
and containerd is started again. The agent is killed by SIGKILL ten times while it writes a file of
all workloads at an interval of 0.05 s, and started again with the same file and Unix socket. It is
killed once more while rsyslog, stopped by SIGSTOP, does not read what it sends: what it had not
written then is gone with it.

The clock of this machine is not touched, and no namespace covers CLOCK_REALTIME: the agent runs
with a library before the C library that gives it another CLOCK_REALTIME, first the true one, then
an hour less. What a step of the machine's own clock does to other programs is not shown by that.
"""

from __future__ import annotations

import json
import mmap
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench.cgroups import own_cgroup
from bench.figures import Row
from bench.reliability.collectors import Collector, Delivered, longest_gap
from bench.reliability.incident import seconds_of
from bench.reliability.load import busy, streaming
from bench.reliability.pods import NAMESPACE, pods_below
from bench.reliability.work import Work, exactly
from containers.cgroups import pids_directory
from support.kernel import existing, held_ids, orphans
from support.stream import Event
from support.waiting import wait_until

_THREADS = 997
_HOUR_SECONDS = 3600
_LIMIT = 2_000
_MAX_TASKS = 64
_TAIL_BYTES = 1 << 20


def scene(work: Work) -> Iterator[Row]:
    yield from runtime_killed(work)
    yield from agent_killed(work)
    yield from killed_while_it_sends(work)
    yield from clock_set_back(work)


def runtime_killed(work: Work) -> Iterator[Row]:
    words = ("leak", "threads", str(_THREADS), "--limit", "120", "--wait")
    with pods_below(work.place("runtime"), _LIMIT) as pods:
        containerd = pods.containerd
        with (
            streaming(work, "--host-root", str(containerd.hostroot)) as (stream, _),
            containerd.pod("web-0", NAMESPACE) as pod,
            pod.container("app", *words) as container,
        ):
            container.wait_waiting()
            # Threads that runc makes in there, before it becomes the workload, count too.
            stream.wait_for_ticks(2)
            path = f"{pods.owner}/burstable/pod{pod.uid}/{container.id}"
            before = stream.counts(path)["threads"]
            with containerd.down():
                container.begin()
                wait_until(lambda: _tasks(path) == _THREADS + 1, 60, "it has leaked")
                stream.wait_for_ticks(2)
                counted = stream.counts(path)["threads"] - before
                names = {
                    event.get("k8s", {}).get("pod", {}).get("name") for event in stream.rates(path)
                }
            with pod.container("later", "leak", "threads", "7", "--limit", "60") as later:
                later.wait_ready()
                other = f"{pods.owner}/burstable/pod{pod.uid}/{later.id}"
                stream.wait_until(
                    lambda: any(
                        event.get("k8s", {}).get("container", {}).get("name") == "later"
                        for event in stream.rates(other)
                    ),
                    "what comes later has its name",
                )
            stream.finish()
            lost = stream.losses().total()
    yield exactly("containerd killed: threads made while it was gone, counted", counted, _THREADS)
    yield exactly("  pods that they were told of", sorted(map(str, names)), ["web-0"])
    yield exactly("  a container made once it is back has its name", True, True)
    yield exactly("  told as lost", lost, 0)


def _tasks(path: str) -> int:
    return int((pids_directory(path) / "pids.current").read_text())


def agent_killed(work: Work) -> Iterator[Row]:
    kills = int(work.seconds(10, 2))
    file = work.directory / "killed.jsonl"
    socket = f"unix:{work.directory / 'agent.sock'}"
    left: set[str] = set()
    answered = 0
    with own_cgroup(_MAX_TASKS) as top, busy(top):
        for _ in range(kills):
            words = ("--output", str(file), "--all")
            with streaming(work, *words, interval_seconds=0.05) as (stream, _):
                answered += _answers(socket)
                programs = held_ids("prog_id", {stream.pid})
                maps = held_ids("map_id", {stream.pid})
                stream.wait_for_ticks(7)
                stream.send(signal.SIGKILL)
                stream.end()
            wait_until(partial(_is_gone, programs, maps), 30, "all is detached")
            left |= orphans()
        with streaming(work, "--output", str(file)) as (stream, _):
            stream.wait_for_ticks(2)
            stream.finish()
    found = Delivered.of(file)
    yield exactly(f"agent killed {kills} times: runs in its file", *_runs(found, kills + 1))
    yield exactly("  lines that are not whole", found.broken, 0)
    yield Row("  lines in that file", f"{len(found.events):,}")
    yield exactly("  programs and maps that the kernel still has afterwards", len(left), 0)
    yield exactly("  new runs that answer on the Unix socket of before", answered, kills)


def killed_while_it_sends(work: Work) -> Iterator[Row]:
    with (
        own_cgroup(_MAX_TASKS) as top,
        busy(top),
        Collector(work.packages.rsyslog, work.place("sending")) as file,
    ):
        words = ("--output", file.output)
        with streaming(work, *words, "--all", interval_seconds=0.05) as (stream, agent):
            stream.wait_for_ticks(3)
            file.send(signal.SIGSTOP)
            wait_until(
                lambda: agent.metric("threadtrace_output_buffered_bytes", output=file.output),
                60,
                "nothing is taken any more",
            )
            stream.send(signal.SIGKILL)
            stream.end()
        file.send(signal.SIGCONT)
        with streaming(work, *words) as (stream, _):
            stream.wait_for_ticks(2)
            stream.finish()
        end = stream.lines[-1]
        wait_until(lambda: end in file.file.read_bytes()[-_TAIL_BYTES:], 60, "the last event")
    found = Delivered.of(file.file)
    yield exactly("agent killed while a collector did not read: runs in its file", *_runs(found, 2))
    yield Row("  lines cut off in the middle", f"{found.broken}", "at most 1", found.broken <= 1)


def _runs(found: Delivered, wanted: int) -> tuple[str, str]:
    """How many there are, and of how many the numbers begin with 1 and have no gap."""
    runs: dict[str, list[int]] = {}
    for event in found.events:
        runs.setdefault(event["agent"]["id"], []).append(event["event"]["sequence"])
    whole = sum(numbers == list(range(1, len(numbers) + 1)) for numbers in runs.values())
    return f"{len(runs)}, {whole} from 1 on without a gap", (
        f"{wanted}, {wanted} from 1 on without a gap"
    )


def _is_gone(programs: set[int], maps: set[int]) -> bool:
    return existing(programs, maps) == (set(), set())


def _answers(socket: str) -> bool:
    command = [sys.executable, "-m", "threadtrace", "why", "--json", "--connect", socket]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    return bool(done.stdout) and json.loads(done.stdout)["source"] == "agent"


def clock_set_back(work: Work) -> Iterator[Row]:
    library = work.directory / "clock.so"
    source = Path(__file__).with_name("clock_back.c")
    build = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([*build, "-o", library, source, "-ldl"], check=True, timeout=60)
    (offset := work.directory / "offset").write_bytes(bytes(8))
    environment = {"LD_PRELOAD": str(library), "CLOCK_OFFSET_FILE": str(offset)}
    with own_cgroup(_MAX_TASKS) as top, streaming(work, environment=environment) as (stream, agent):
        with busy(top):
            stream.wait_for_ticks(5)
            seen = len(stream.events)
            with offset.open("r+b") as file, mmap.mmap(file.fileno(), 8) as shared:
                shared[:8] = struct.pack("=q", -_HOUR_SECONDS)
            stream.wait_until(lambda: len(_ticks(stream.events[seen:])) > 25, "ticks go on")
            health = agent.get("/healthz").status
            why = agent.get("/v1/why").status
        stream.send(signal.SIGTERM)
        stream.end()
        stream.check()  # numbers, schema
        before, after = _ticks(stream.events[:seen]), _ticks(stream.events[seen:])
        step = seconds_of(after[-1]) - seconds_of(before[-1])
        back = (len(after) * 0.2 - step) / _HOUR_SECONDS
        lost = stream.losses().total()
    gap = longest_gap(after)
    yield Row("clock set back by an hour: timestamps follow it", f"by {back:.3f} hours", "1.000",
              abs(back - 1) < 0.005)  # fmt: skip
    yield Row("  longest interval of a tick since", f"{gap:.2f} s", "at most 1 s", 0 < gap <= 1)
    yield exactly("  numbers without a gap, events valid", True, True)
    yield exactly("  told as lost", lost, 0)
    yield exactly("  status of /healthz, /v1/why", (health, why), (200, 200))


def _ticks(events: list[Event]) -> list[Event]:
    return [one for one in events if one["event"]["name"] == "threadtrace.node.limits"]
