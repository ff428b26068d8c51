"""What the agent leaves behind, and what it needs."""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path

import pytest

from support.cgroups import OwnCgroup, own_cgroup
from support.kernel import existing, held_ids, orphans
from support.puppet import Puppet
from support.stream import Stream, counts, name_of, path_of
from support.waiting import wait_until
from threadtrace.probe.kept import VARIABLE

UNAVAILABLE = os.EX_UNAVAILABLE
GONE_SECONDS = 20
COMPILES = {VARIABLE: ""}
"""The loader takes longest then, and has most to leave behind."""


def children_of(pid: int) -> list[int]:
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def wait_for_loader(stream: Stream) -> int:
    return wait_until(lambda: children_of(stream.pid), 20, "the loader process runs")[0]


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_is_left_in_the_kernel(host: None, end: signal.Signals) -> None:
    with Stream() as stream:
        programs = held_ids("prog_id", {stream.pid})
        maps = held_ids("map_id", {stream.pid})
        assert len(programs) >= 3
        assert len(maps) >= 5
        assert existing(programs, maps) == (programs, maps)
        stream.send(end)
        stream.end()

        wait_until(
            lambda: existing(programs, maps) == (set(), set()),
            GONE_SECONDS,
            lambda: f"all are gone: programs and maps {existing(programs, maps)} are left",
        )


@pytest.mark.parametrize("delay_seconds", [0, 0.05, 0.1, 0.2, 0.3, 0.45])
def test_agent_killed_while_it_starts(host: None, delay_seconds: float) -> None:
    with Stream(wait=False, environment=COMPILES) as stream:
        loader = wait_for_loader(stream)
        pidfd = os.pidfd_open(loader)
        try:
            # Not a wait for anything: the moment is what varies.
            signal.sigtimedwait([], delay_seconds)
            stream.kill()
            wait_until(lambda: not orphans(), GONE_SECONDS, lambda: f"no {orphans()} is left")
            wait_until(lambda: _has_ended(pidfd), GONE_SECONDS, "the loader ended with its agent")
        finally:
            os.close(pidfd)


@pytest.mark.parametrize("delay_seconds", [0, 0.1, 0.25])
def test_loader_killed(host: None, delay_seconds: float) -> None:
    with Stream(wait=False, environment=COMPILES) as stream:
        loader = wait_for_loader(stream)
        pidfd = os.pidfd_open(loader)
        signal.sigtimedwait([], delay_seconds)
        try:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        except ProcessLookupError:
            stream.wait_for(lambda event: name_of(event) == "threadtrace.started")
            return  # it had done its work
        finally:
            os.close(pidfd)
        code = stream.end()
        assert (code, stream.errors.count(b"\n")) == (UNAVAILABLE, 1), stream.errors
        assert b"loader" in stream.errors
        wait_until(lambda: not orphans(), GONE_SECONDS, lambda: f"no {orphans()} is left")


def test_agent_starts_no_task(host: None, cgroup: OwnCgroup, actor: Puppet, tmp_path: Path) -> None:
    """At its own limit, with everything going on that it reacts to, an explosion among it."""
    arguments = ("--max-cgroups", "64", "--record-dir", str(tmp_path))
    with own_cgroup("agent-") as own, Stream(*arguments) as stream:
        own.add(stream.pid)
        own.wait_for_tasks(1)
        own.set_limit(1)
        cgroup.set_limit(80)
        for index in range(31):
            actor.do("visit", f"{cgroup.directory}/{index}", 3)
        for index in range(97):  # more than the map holds
            (cgroup.directory / f"kept-{index}").mkdir()
        actor.do("threads", 83)  # refused from 80 on
        actor.do("storm", "churn", 1, 100_000)
        actor.do("join", 79)
        actor.do("storm", "forks", 1, 100_000)
        stream.wait_for_ticks(3)

        assert own.refused == 0
        assert own.tasks == 1
        assert stream.refused(cgroup.path)["EAGAIN"] >= 4
        assert cgroup.path in map(path_of, stream.named("explosion.started"))
        assert list(tmp_path.iterdir()), "a record was begun"
        stream.finish()
        assert own.refused == 0


def test_agent_runs_before_others(host: None) -> None:
    """In a fork bomb it would wait for its turn among thousands."""
    with Stream() as stream:
        assert os.getpriority(os.PRIO_PROCESS, stream.pid) == -20
        stream.finish()


def test_agent_is_no_busier_than_its_births(host: None, cgroup: OwnCgroup, actor: Puppet) -> None:
    """The agent's own cgroup shows no birth after the start."""
    with own_cgroup("agent-") as own, Stream() as stream:
        own.add(stream.pid)
        actor.do("storm", "forks", 0.5, 10_000)
        stream.wait_for_ticks(5)
        assert stream.counts(own.path) == counts()
        stream.finish()


def _has_ended(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))
