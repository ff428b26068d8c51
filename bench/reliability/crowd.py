"""Ten thousand cgroups come and go.

10,000 cgroups as of pods with three containers are made, a process forks once in each, and all are
removed again, while /healthz is asked five times a second.
"""

from __future__ import annotations

import os
import secrets
import signal
import uuid
from collections.abc import Iterator

from bench.cgroups import own_cgroup
from bench.figures import Row
from bench.processes import resident_bytes
from bench.reliability.asking import Answer
from bench.reliability.load import streaming
from bench.reliability.work import Repeating, Work, at_most, exactly, longest
from bench.workloads import listed, started, workload
from support.stream import path_of

_CGROUPS_OF_POD = 4


def scene(work: Work) -> Iterator[Row]:
    count = int(work.seconds(10_000, 500))
    answers: list[Answer] = []
    with streaming(work, interval_seconds=1.0) as (stream, agent):
        resident = resident_bytes(stream.pid)
        descriptors = len(os.listdir(f"/proc/{stream.pid}/fd"))
        with Repeating(lambda: answers.append(agent.get("/healthz")), 0.2):
            with own_cgroup(64) as top:
                paths = _make_pods(top, count)
                home = f"{top}/home"
                os.mkdir(home)
                with (
                    listed(paths) as listing,
                    started(top, [workload("visit"), listing, home]) as visit,
                ):
                    assert visit.stdin is not None
                    assert visit.stdout is not None
                    visit.stdin.write(b".")
                    visit.stdout.read(1)
                    stream.wait_for_ticks(2)
                    most = resident_bytes(stream.pid)
            stream.wait_until(
                lambda: agent.metric("threadtrace_agent_tick_seconds") < 0.1, "it is quiet again"
            )
            stream.wait_for_ticks(3)
        kept = resident_bytes(stream.pid)
        held = len(os.listdir(f"/proc/{stream.pid}/fd"))
        stream.send(signal.SIGTERM)
        stream.end()
        born = sum(
            event["threadtrace"].get("processes_created_count", 0)
            for event in stream.named("workload.rates")
            if f"{os.path.basename(top)}/kubepods/" in (path_of(event) or "")
        )
        longest_tick = max(
            event["threadtrace"]["interval_seconds"] for event in stream.named("node.limits")
        )
        lost = stream.losses()
    yield exactly(f"{count:,} cgroups: forks counted, one in each", born, count)
    yield exactly("  told as lost", dict(lost), {})
    yield Row(
        "  longest interval of a tick", f"{longest_tick:.2f} s", "at most 3 s", longest_tick <= 3
    )
    yield longest("  /healthz meanwhile", [one.seconds for one in answers], 3.0)
    yield Row(
        "  resident memory before, with all of them, afterwards",
        " / ".join(f"{size / 1e6:.1f}" for size in (resident, most, kept)) + " MB",
    )
    yield at_most(
        "  descriptors more than before, once they are gone", held - descriptors, 16, "", 0
    )


def _make_pods(top: str, count: int) -> list[str]:
    """So many cgroups, of pods with three containers each, with ids that nobody else has."""
    made: list[str] = []
    for _ in range(count // _CGROUPS_OF_POD):
        pod = f"{top}/kubepods/burstable/pod{uuid.uuid4()}"
        made += [pod, *(f"{pod}/{secrets.token_hex(32)}" for _ in range(_CGROUPS_OF_POD - 1))]
    for directory in made:
        os.makedirs(directory)
    return made
