"""Explosions of known workloads: called once, with the right numbers, and not of benign ones."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.cgroups import OwnCgroup
from support.puppet import Puppet
from support.stream import Stream, path_of
from support.waiting import wait_until

MOST_TASKS = 2_000
PID_MAX = 700
RESERVED_PIDS = 300


@pytest.fixture(scope="module")
def stream(host: None) -> Iterator[Stream]:
    """An agent with the interval that is usual, for all tests of this module."""
    with Stream(interval_seconds=1.0) as running:
        yield running
        running.finish()


@pytest.fixture
def sibling(puppet_program: Path, cgroup: OwnCgroup) -> Iterator[Puppet]:
    with Puppet(puppet_program) as running:
        cgroup.child("sibling").add(running.pid)
        yield running


def episode(stream: Stream, path: str) -> list[dict[str, Any]]:
    """All explosion events of a workload."""
    names = ("explosion.started", "explosion.updated", "explosion.ended")
    found = [event for name in names for event in stream.named(name) if path_of(event) == path]
    return sorted(found, key=lambda event: int(event["event"]["sequence"]))


def names_of(events: list[dict[str, Any]]) -> list[str]:
    return [event["event"]["name"].rpartition(".")[2] for event in events]


def started(stream: Stream, path: str) -> dict[str, Any]:
    """The event that calls it; its details must agree with themselves."""
    found = [event for event in episode(stream, path) if "started" in event["event"]["name"]]
    assert len(found) == 1, "called once"
    details: dict[str, Any] = found[0]["threadtrace"]
    assert details["tasks_count"] - details["tasks_at_start"] == details["evidence"]["gained_count"]
    return found[0]


def leak(
    puppet: Puppet,
    per_second: int,
    until: Callable[[], bool],
    command: str = "threads",
    most: int = MOST_TASKS,
) -> int:
    """Create at that rate until something is so; how many were created."""
    steps = 50
    created = 0
    begin = time.monotonic()
    for step in itertools.count(1):
        due = min(most, int(per_second * step / steps))
        if due > created:
            result = puppet.do(command, due - created)
            created += due - created - result.refused
        if until():
            return created
        assert created < most, f"not so after {created} tasks"
        time.sleep(max(0.0, begin + step / steps - time.monotonic()))
    raise AssertionError


def test_a_leak_of_threads_is_told_once_with_exact_numbers(
    stream: Stream, cgroup: OwnCgroup, actor: Puppet
) -> None:
    actor.do("name", b"worker-17".hex())
    leak(actor, 1_000, lambda: bool(episode(stream, cgroup.path)))
    event = started(stream, cgroup.path)
    details = event["threadtrace"]
    assert (details["shape"], details["state"]) == ("leak", "exploding")
    assert details["evidence"]["rule"] in ("burst", "jump")
    assert details["tasks_at_start"] <= 1, "the program itself"
    assert abs(details["threads_created_count"] - details["evidence"]["gained_count"]) <= 25
    assert event["process"]["pid"] == actor.pid
    assert "puppet" in event["process"]["command_line"]
    assert details["thread_names"][0]["name"] in ("worker-#", "puppet")
    assert details["nearest_limit"] == "pid_max"
    assert details["seconds_to_exhaustion"] > 0
    actor.end()
    stream.wait_until(lambda: "ended" in names_of(episode(stream, cgroup.path)), "the end is told")
    told = episode(stream, cgroup.path)
    assert names_of(told).count("started") == names_of(told).count("ended") == 1
    assert {entry["threadtrace"]["explosion_id"] for entry in told} == {details["explosion_id"]}
    end = told[-1]["threadtrace"]
    assert end["ended_because"] in ("fell_back", "gone")
    assert end["tasks_peak"] >= details["tasks_count"]


def test_an_explosion_is_told_between_two_ticks(cgroup: OwnCgroup, actor: Puppet) -> None:
    with Stream(interval_seconds=600) as stream:
        leak(actor, 1_500, lambda: bool(episode(stream, cgroup.path)))
        assert len(stream.named("node.limits")) == 1, "no tick came"
        stream.finish()
    told = episode(stream, cgroup.path)
    assert told[-1]["threadtrace"]["ended_because"] == "agent_stopped"


def test_a_leak_below_the_limit_of_a_pod(
    stream: Stream, cgroup: OwnCgroup, actor: Puppet, sibling: Puppet
) -> None:
    cgroup.set_limit(120)
    leaking = cgroup.child("leaking")
    leaking.add(actor.pid)
    leak(actor, 20, lambda: bool(episode(stream, leaking.path)), most=119)
    details = started(stream, leaking.path)["threadtrace"]
    assert details["evidence"]["rule"] == "limit"
    assert (details["nearest_limit"], details["nearest_limit_owner"]) == ("pids_max", cgroup.path)
    assert details["nearest_limit_value"] == 120
    assert details["victims_count"] == 0
    actor.do("threads", 150)
    refused = sibling.do("forks", 3).refused
    assert refused == 3

    def victims() -> list[Any]:
        return [
            victim
            for event in episode(stream, leaking.path)
            for victim in event["threadtrace"]["victims"]
        ]

    stream.wait_until(
        lambda: any(
            event["threadtrace"]["state"] == "exhausted" and event["threadtrace"]["victims"]
            for event in episode(stream, leaking.path)
        ),
        "the victim is told",
    )
    assert victims()[-1]["workload"]["name"] == f"{cgroup.path}/sibling"
    assert victims()[-1]["refused_count"] == refused


def test_a_fork_bomb_in_a_small_cgroup(stream: Stream, cgroup: OwnCgroup, actor: Puppet) -> None:
    cgroup.set_limit(90)
    result = actor.do("keep", 200)
    assert result.refused
    stream.wait_until(lambda: bool(episode(stream, cgroup.path)), "it is called")
    details = started(stream, cgroup.path)["threadtrace"]
    assert details["state"] == "exhausted"
    assert details["evidence"]["rule"] in ("refused", "limit")
    assert details["processes_created_count"] == 200 - result.refused


def test_a_storm_of_short_processes(stream: Stream, cgroup: OwnCgroup, actor: Puppet) -> None:
    actor.start("storm", "churn", 9, 10_000_000)
    stream.wait_until(lambda: bool(episode(stream, cgroup.path)), "it is called")
    details = started(stream, cgroup.path)["threadtrace"]
    assert details["shape"] == "storm"
    assert details["evidence"]["rule"] == "storm"
    assert details["tasks_count"] < 100
    actor.finish()


@pytest.mark.parametrize("count", [200, 500])
def test_a_pool_that_is_complete_at_once_is_not_called(
    stream: Stream, cgroup: OwnCgroup, actor: Puppet, count: int
) -> None:
    actor.do("threads", count)
    stream.wait_for_ticks(5)
    assert episode(stream, cgroup.path) == []


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_stopped_agent_makes_no_explosion_of_the_gap(
    stream: Stream, cgroup: OwnCgroup, actor: Puppet
) -> None:
    actor.do("threads", 20)
    stream.wait_for_ticks(2)
    os.kill(stream.pid, signal.SIGSTOP)
    try:
        wait_until(lambda: _state(stream.pid) == "T", 10, "the agent is stopped")
        until = time.monotonic() + 6
        created = 0
        while time.monotonic() < until:
            created += actor.do("threads", 60).created
            time.sleep(0.2)
    finally:
        os.kill(stream.pid, signal.SIGCONT)
    stream.wait_for_ticks(4)
    assert created >= 1_000
    assert episode(stream, cgroup.path) == []
    rates = [e["threadtrace"] for e in stream.named("workload.rates") if path_of(e) == cgroup.path]
    assert sum(entry["threads_created_count"] for entry in rates) == created + 20, "but all counted"


def test_hostile_names_are_told_as_text(stream: Stream, cgroup: OwnCgroup, actor: Puppet) -> None:
    cgroup.set_limit(200)
    actor.do("name", b"\x1b[31m<b>\xff{x}".hex())
    leak(actor, 400, lambda: bool(episode(stream, cgroup.path)))
    event = started(stream, cgroup.path)
    assert "\x1b" not in event["message"]
    assert event["threadtrace"]["thread_names"]


def test_the_limit_of_a_user_is_found_before_it_refuses(
    stream: Stream, cgroup: OwnCgroup, actor: Puppet
) -> None:
    actor.do("user", 64_117, 150)
    leak(actor, 40, lambda: bool(episode(stream, cgroup.path)), most=149)
    details = started(stream, cgroup.path)["threadtrace"]
    assert details["nearest_limit"] == "rlimit_nproc"
    assert details["nearest_limit_owner"].startswith("uid 64117")
    assert details["nearest_limit_value"] == 150


def test_the_pid_max_of_a_namespace_is_found_before_it_refuses(
    stream: Stream, cgroup: OwnCgroup, actor: Puppet, own_pid_max: None
) -> None:
    actor.do("pid-namespace", PID_MAX)
    leak(actor, 50, lambda: bool(episode(stream, cgroup.path)), most=PID_MAX)
    details = started(stream, cgroup.path)["threadtrace"]
    assert details["nearest_limit"] == "pid_max"
    assert details["nearest_limit_owner"].startswith("PID namespace level 1 of init ")
    assert details["nearest_limit_value"] == PID_MAX - RESERVED_PIDS
    assert details["refused_count"] == 0
