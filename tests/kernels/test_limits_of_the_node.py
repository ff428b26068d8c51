"""The node's own pid_max and threads-max, used up for real with the agent running."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kernels import scene
from support.stream import Stream, counts

PID_MAX = Path("/proc/sys/kernel/pid_max")
THREADS_MAX = Path("/proc/sys/kernel/threads-max")
ROOM = 300
RESERVED_PIDS = 300
ATTEMPTS = 2_000


@contextmanager
def setting(path: Path, value: int) -> Iterator[None]:
    before = path.read_text()
    path.write_text(str(value))
    try:
        yield
    finally:
        path.write_text(before)


def tasks_of_the_node() -> int:
    return int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])


@pytest.mark.parametrize("limit", ["pid_max", "threads_max"])
def test_nothing_can_be_created_any_more(
    guest: str, agent: Stream, puppet_program: Path, limit: str
) -> None:
    """No PID is free: the agent goes on counting, and says who holds them."""
    # Of pid_max so many are below 300 that the room is some hundreds more.
    present = tasks_of_the_node()
    path = PID_MAX if limit == "pid_max" else THREADS_MAX
    value = present + ROOM + (RESERVED_PIDS if limit == "pid_max" else 0)
    with scene.place(puppet_program) as culprit, setting(path, value):
        agent.wait_for_ticks()
        births = culprit.puppet.do("keep", ATTEMPTS)
        assert births.error == errno.EAGAIN
        assert births.created + births.refused == ATTEMPTS
        assert births.created >= ROOM // 2
        details = scene.told(agent, culprit.cgroup.path, births.refused)
        assert details["limit"] == limit
        owner = "PID namespace level 0" if limit == "pid_max" else "node"
        assert details["limit_owner"] == owner
        assert details["limit_value"] == value
        first = scene.refusals(agent, culprit.cgroup.path)[0]
        assert first["severity_text"] == "ERROR"
        (most, *_) = details["culprits"]
        assert most["workload"]["name"] == culprit.cgroup.path
        assert culprit.puppet.do("forks", 5).refused == 5, "still nothing is free"
        agent.wait_for_ticks(3)
        culprit.puppet.do("reap")
        culprit.cgroup.wait_for_tasks(1)
        agent.wait_for_ticks()
        expected = counts(processes=births.created, exited=births.created)
        expected["refused"] = births.refused + 5
        assert agent.counts(culprit.cgroup.path) == expected
