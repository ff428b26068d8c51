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
    sees_workers = "tracepoint" not in scene.hook_kinds(agent)
    agent.wait_until(
        lambda: agent.counts(cgroup.path)["refused"] == cgroup.refused or not sees_workers,
        "as many refusals are told as the limit had",
    )
    if sees_workers:
        (first, *_) = scene.refusals(agent, cgroup.path)
        details = first["threadtrace"]
        assert (details["limit"], details["kind"]) == ("pids_max", "thread")
        assert details["limit_owner"] == cgroup.path
