"""Workers of io_uring: tasks that no system call of clone's kind creates."""

from __future__ import annotations

import os
from pathlib import Path

from kernels import scene
from support.cgroups import OwnCgroup
from support.puppet import Puppet
from support.stream import Stream, counts
from support.waiting import wait_until

OPENED = 4


def test_workers_are_counted_and_refused_ones_too(
    guest: str, agent: Stream, cgroup: OwnCgroup, uring: Puppet, tmp_path: Path
) -> None:
    fifo = tmp_path / "nobody-writes"
    os.mkfifo(fifo)
    cgroup.add(uring.pid)
    uring.do("open", OPENED, fifo)
    wait_until(lambda: cgroup.tasks > OPENED, 20, "each open that waits has a worker")
    cgroup.set_limit(cgroup.tasks)
    workers = cgroup.tasks - 1
    agent.wait_for_ticks()
    assert agent.counts(cgroup.path) == counts(threads=workers)
    assert len(os.listdir(f"/proc/{uring.pid}/task")) == 1 + workers

    uring.do("open", 1, fifo)
    wait_until(lambda: cgroup.refused, 20, "the limit refuses a worker")
    cgroup.set_limit(None)  # before 5.12 io_uring tries again for as long as it is refused
    if "tracepoint" in scene.hook_kinds(agent):
        return  # no system call tells of them

    def is_told() -> bool:
        found = agent.counts(cgroup.path)
        return found == counts(threads=cgroup.tasks - 1, refused=cgroup.refused)

    agent.wait_until(is_told, "each worker and each refusal is told")
    (first, *_) = scene.refusals(agent, cgroup.path)
    details = first["threadtrace"]
    assert (details["limit"], details["kind"]) == ("pids_max", "thread")
    assert details["limit_owner"] == cgroup.path
