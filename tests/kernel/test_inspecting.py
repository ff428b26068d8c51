"""A closer look at known workloads: exact numbers, limits in their order, names of any bytes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cgroups import OwnCgroup
from support.puppet import Puppet
from support.waiting import wait_until
from threadtrace.agent import Agent, AgentOptions, start_agent
from threadtrace.identity.workloads import KERNEL, identify
from threadtrace.inspecting import MAX_PROCESSES
from threadtrace.model.details import LimitLevel, ProcessInspection, WorkloadDetails
from threadtrace.model.explosion import ThreadName
from threadtrace.probe.records import Limit

KTHREADD_PID = 2
PATIENCE_SECONDS = 10
LOOK_SECONDS = 0.05


@pytest.fixture(scope="module")
def agent(host: None) -> Iterator[Agent]:
    """One in this process, whose ticks come when a test wants them."""
    with start_agent(AgentOptions()) as running:
        yield running


def tick(agent: Agent) -> None:
    agent.pipeline.handle_records()
    agent.pipeline.tick()


def workload(agent: Agent, path: str) -> WorkloadDetails:
    details = agent.pipeline.inspect_workload(identify(path).key)
    assert details is not None
    return details


def process(agent: Agent, pid: int) -> ProcessInspection:
    details = agent.pipeline.inspect_process(pid)
    assert details is not None
    return details


def of_cgroups(levels: tuple[LimitLevel, ...]) -> list[tuple[str, int, int | None]]:
    return [
        (level.owner, level.value, level.usage) for level in levels if level.limit is Limit.PIDS_MAX
    ]


def test_threads_and_limits_up_the_tree(agent: Agent, cgroup: OwnCgroup, actor: Puppet) -> None:
    cgroup.set_limit(900)
    inner = cgroup.child("inner")
    inner.set_limit(400)
    inner.add(actor.pid)
    tick(agent)
    assert actor.do("threads", 211).created == 211

    details = workload(agent, inner.path)  # without a further tick
    (told,) = details.processes
    assert (told.pid, told.name, told.threads) == (actor.pid, "puppet", 212)
    assert "puppet" in (told.command_line or "")
    assert 0 <= (told.age_seconds or -1) < 60
    assert details.processes_count == 1
    assert of_cgroups(details.limits) == [(inner.path, 400, 212), (cgroup.path, 900, 212)]
    assert [level.limit for level in details.limits][-2:] == [Limit.PID_MAX, Limit.THREADS_MAX]
    assert all(level.knob and level.owner and level.used_ratio for level in details.limits)

    tick(agent)
    (told,) = workload(agent, inner.path).processes
    assert told.created_per_second is not None
    assert told.created_per_second > 211 / 60

    found = process(agent, actor.pid)
    assert found.process.threads == 212
    assert of_cgroups(found.limits) == of_cgroups(details.limits)
    assert found.limits[0].limit is Limit.PIDS_MAX, "root is held to no RLIMIT_NPROC"
    assert found.uid == 0
    assert found.parent_pid is not None


def test_names_of_threads(agent: Agent, cgroup: OwnCgroup, actor: Puppet) -> None:
    tick(agent)
    for number in range(3):
        actor.do("name", f"worker-{number}".encode().hex())
        actor.do("threads", 50)
    actor.do("name", b"\x1b[31m\xff(9)".hex())
    actor.do("threads", 61)
    found = process(agent, actor.pid)
    assert found.process.name == "\x1b[31m\ufffd(9)"
    assert found.thread_names == (
        ThreadName("worker-#", 150),
        ThreadName("\x1b[#m\ufffd(#)", 62),
    )


def test_a_process_that_is_gone_or_none(agent: Agent, actor: Puppet) -> None:
    assert process(agent, actor.pid).process.pid == actor.pid
    actor.kill()
    assert agent.pipeline.inspect_process(actor.pid) is None
    for pid in (0, -1, 1 << 40):
        assert agent.pipeline.inspect_process(pid) is None
    assert agent.pipeline.inspect_workload("cgroup:/none") is None


def test_a_thread_is_no_process(agent: Agent, actor: Puppet) -> None:
    actor.do("threads", 1)
    ids = {int(name.name) for name in Path(f"/proc/{actor.pid}/task").iterdir()}
    (thread,) = ids - {actor.pid}
    assert agent.pipeline.inspect_process(thread) is None


def test_the_kernels_own_threads(agent: Agent) -> None:
    tick(agent)
    found = process(agent, KTHREADD_PID)
    assert (found.process.name, found.process.command_line) == ("kthreadd", None)
    assert {level.limit for level in found.limits} == {Limit.PID_MAX, Limit.THREADS_MAX}
    details = agent.pipeline.inspect_workload(KERNEL.key)
    assert details is not None
    assert any(entry.pid == KTHREADD_PID for entry in details.processes)


def test_the_limit_of_a_user(agent: Agent, cgroup: OwnCgroup, actor: Puppet) -> None:
    tick(agent)
    actor.do("user", 64_118, 150)
    assert actor.do("threads", 98).created == 98
    own = process(agent, actor.pid).limits[0]
    assert (own.limit, own.owner, own.value, own.usage) == (
        Limit.RLIMIT_NPROC,
        "uid 64118",
        150,
        99,
    )
    # What the kernel found at the births is told of the workload too, between pids.max and node.
    told = [level.limit for level in workload(agent, cgroup.path).limits]
    assert told == sorted(
        told, key=[Limit.PIDS_MAX, Limit.RLIMIT_NPROC, Limit.PID_MAX, Limit.THREADS_MAX].index
    )
    assert Limit.RLIMIT_NPROC in told


def test_a_young_process_is_found_without_a_tick(
    agent: Agent, cgroup: OwnCgroup, actor: Puppet
) -> None:
    tick(agent)
    actor.do("keep", 41)
    details = workload(agent, cgroup.path)
    assert details.processes_count == 42
    assert all(entry.age_seconds is not None for entry in details.processes)


def test_a_crowd_is_told_in_part_and_in_time(
    agent: Agent, cgroup: OwnCgroup, actor: Puppet
) -> None:
    many = 1_500
    cgroup.set_limit(2 * many)
    assert actor.do("keep", many).created == many
    wait_until(
        lambda: tick(agent) or workload(agent, cgroup.path).processes_count == many + 1,
        PATIENCE_SECONDS,
        "all processes are known",
    )
    seconds = []
    for _ in range(5):
        begin = time.perf_counter()
        details = workload(agent, cgroup.path)
        seconds.append(time.perf_counter() - begin)
    assert len(details.processes) == MAX_PROCESSES
    assert min(seconds) < LOOK_SECONDS
