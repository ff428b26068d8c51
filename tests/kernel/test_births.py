"""Known numbers of births, all different primes: each is to be found where it belongs."""

from __future__ import annotations

import errno
import random
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.cgroups import OwnCgroup, own_cgroup, require_version_2
from support.puppet import Births, Puppet
from support.stream import Stream, counts


def test_threads_of_one_process(stream: Stream, cgroup: OwnCgroup, actor: Puppet) -> None:
    assert actor.do("threads", 997) == Births(997, 0, 0)
    stream.wait_for_counts(cgroup.path, counts(threads=997))
    (process,) = stream.rates(cgroup.path)[-1]["threadtrace"]["top_processes"]
    assert (process["pid"], process["name"]) == (actor.pid, "puppet")
    assert process["threads"] == 998
    actor.do("join", 499)
    cgroup.wait_for_tasks(1 + 997 - 499)
    stream.wait_for_ticks()

    assert stream.counts(cgroup.path) == counts(threads=997, exited=499)
    last = stream.rates(cgroup.path)[-1]["threadtrace"]
    assert last["tasks_count"] == 1 + 997 - 499
    assert last["tasks_peak"] == 1 + 997


def test_top_processes_notice_threads_that_end(
    host: None, cgroup: OwnCgroup, actor: Puppet
) -> None:
    actor.do("threads", 41)
    with Stream("--all") as stream:
        actor.do("join", 19)
        cgroup.wait_for_tasks(23)

        def shown() -> int:
            (process,) = stream.rates(cgroup.path)[-1]["threadtrace"]["top_processes"]
            threads: int = process["threads"]
            return threads

        # By the pass through /proc, which takes some ticks.
        stream.wait_until(lambda: shown() == 23, "the number of threads that are left")


def test_top_processes_tell_who_created(stream: Stream, cgroup: OwnCgroup, actor: Puppet) -> None:
    actor.do("threads", 11)
    actor.do("forks", 13)
    stream.wait_for_ticks()

    created = 0
    for event in stream.rates(cgroup.path):
        for process in event["threadtrace"]["top_processes"]:
            assert process["pid"] == actor.pid
            created += process["created_count"]
    assert created == 11 + 13


def test_largest_process_comes_first(
    stream: Stream, cgroup: OwnCgroup, actor: Puppet, puppet_program: Path
) -> None:
    with ExitStack() as stack:
        small, large = (stack.enter_context(Puppet(puppet_program)) for _ in range(2))
        for process in (small, large):
            cgroup.add(process.pid)
        small.do("threads", 3)
        large.do("threads", 31)
        actor.do("threads", 7)
        stream.wait_for_ticks()

    top = stream.rates(cgroup.path)[-1]["threadtrace"]["top_processes"]
    assert [(process["pid"], process["threads"]) for process in top] == [
        (large.pid, 32),
        (actor.pid, 8),
        (small.pid, 4),
    ]


def test_top_processes_follow_a_changed_name(
    stream: Stream, cgroup: OwnCgroup, actor: Puppet
) -> None:
    actor.do("threads", 3)
    stream.wait_for_ticks()
    actor.do("name", b"renamed".hex())
    actor.do("threads", 2)

    def shown() -> str:
        name: str = stream.rates(cgroup.path)[-1]["threadtrace"]["top_processes"][0]["name"]
        return name

    stream.wait_until(lambda: shown() == "renamed", "the new name is shown", 5)


@pytest.mark.parametrize(
    ("command", "number", "kind"),
    [
        ("forks", 101, "processes"),
        ("vforks", 53, "processes"),
        ("spawns", 31, "processes"),
        ("churn", 307, "threads"),
    ],
)
def test_one_way_of_birth(
    stream: Stream, cgroup: OwnCgroup, actor: Puppet, command: str, number: int, kind: str
) -> None:
    assert actor.do(command, number) == Births(number, 0, 0)
    cgroup.wait_for_tasks(1)
    stream.wait_for_ticks()

    assert stream.counts(cgroup.path) == counts(**{kind: number}, exited=number)
    assert stream.rates(cgroup.path)[-1]["threadtrace"]["tasks_count"] == 1


def test_all_ways_at_once_in_several_cgroups(stream: Stream, puppet_program: Path) -> None:
    work = {"forks": 103, "vforks": 59, "spawns": 37, "churn": 211, "threads": 71}
    with ExitStack() as stack:
        cgroups = {command: stack.enter_context(own_cgroup()) for command in work}
        puppets = {command: stack.enter_context(Puppet(puppet_program)) for command in work}
        for command in work:
            cgroups[command].add(puppets[command].pid)
        for command, number in work.items():
            puppets[command].start(command, number)
        for command, number in work.items():
            assert puppets[command].finish() == Births(number, 0, 0)
        for command in work:
            cgroups[command].wait_for_tasks(1 + (71 if command == "threads" else 0))
        stream.wait_for_ticks()
        found = {command: stream.counts(cgroups[command].path) for command in work}

    assert found == {
        "forks": counts(processes=103, exited=103),
        "vforks": counts(processes=59, exited=59),
        "spawns": counts(processes=37, exited=37),
        "churn": counts(threads=211, exited=211),
        "threads": counts(threads=71),
    }


def test_children_that_stay(stream: Stream, cgroup: OwnCgroup, actor: Puppet) -> None:
    actor.do("keep", 17)
    stream.wait_for_ticks()
    assert stream.rates(cgroup.path)[-1]["threadtrace"]["tasks_count"] == 18
    actor.do("reap")
    cgroup.wait_for_tasks(1)
    stream.wait_for_ticks()

    assert stream.counts(cgroup.path) == counts(processes=17, exited=17)
    assert stream.rates(cgroup.path)[-1]["threadtrace"]["tasks_count"] == 1


def test_clone_into_another_cgroup(stream: Stream, cgroup: OwnCgroup, actor: Puppet) -> None:
    require_version_2()
    with own_cgroup() as other:
        assert actor.do("into", other.directory, 43) == Births(43, 0, 0)
        stream.wait_for_ticks()
        assert stream.counts(other.path) == counts(processes=43, exited=43)
        assert stream.counts(cgroup.path) == counts()


def test_restarted_clones_are_no_refusals(stream: Stream, cgroup: OwnCgroup, actor: Puppet) -> None:
    assert actor.do("signalled", 2003) == Births(2003, 0, 0)
    cgroup.wait_for_tasks(1)
    stream.wait_for_ticks()

    # One thread more: the one that sent the signals.
    assert stream.counts(cgroup.path) == counts(processes=2003, threads=1, exited=2004)


def test_leader_that_exits_first(stream: Stream, cgroup: OwnCgroup, actor: Puppet) -> None:
    actor.do("threads", 5)
    actor.do("leave-leader")  # one birth, one exit
    actor.do("threads", 7)
    # The leader stays as a zombie until its whole group has ended.
    cgroup.wait_for_tasks(1 + 5 + 1 + 7)
    stream.wait_for_ticks()
    assert stream.counts(cgroup.path) == counts(threads=13, exited=1)
    # /proc/PID/cgroup of the zombie reads "/" on version 1: it is still the same process's.
    for _ in range(20):
        actor.do("churn", 1)
        stream.wait_for_ticks()
        last = stream.rates(cgroup.path)[-1]["threadtrace"]
        assert [process["pid"] for process in last["top_processes"]] == [actor.pid]
    actor.end()
    cgroup.wait_for_tasks(0)
    stream.wait_for_ticks()

    assert stream.counts(cgroup.path) == counts(threads=13 + 20, exited=14 + 20)


def test_exec_from_a_thread(stream: Stream, cgroup: OwnCgroup, actor: Puppet) -> None:
    actor.do("threads", 3)
    actor.do("exec-thread")  # one birth; the leader and three threads end
    cgroup.wait_for_tasks(1)
    actor.do("threads", 11)
    stream.wait_for_ticks()
    assert stream.counts(cgroup.path) == counts(threads=15, exited=4)
    last = stream.rates(cgroup.path)[-1]["threadtrace"]
    assert last["tasks_count"] == 12
    assert [process["pid"] for process in last["top_processes"]] == [actor.pid]
    actor.end()
    cgroup.wait_for_tasks(0)
    stream.wait_for_ticks()

    # All that were created, and the process that was born elsewhere.
    assert stream.counts(cgroup.path) == counts(threads=15, exited=16)


@pytest.mark.parametrize(
    ("birth", "kind"), [("threads", "threads"), ("forks", "processes"), ("vforks", "processes")]
)
def test_refused_by_pids_max(
    stream: Stream, cgroup: OwnCgroup, actor: Puppet, birth: str, kind: str
) -> None:
    cgroup.set_limit(1)
    assert actor.do(birth, 13) == Births(0, 13, errno.EAGAIN)
    assert cgroup.refused == 13
    stream.wait_for_ticks()

    assert stream.counts(cgroup.path) == counts(refused=13)
    assert stream.refused(cgroup.path) == {"EAGAIN": 13}
    last = stream.rates(cgroup.path)[-1]["threadtrace"]
    assert last["tasks_count"] == 1


def test_births_up_to_the_limit_and_refusals_beyond(
    stream: Stream, cgroup: OwnCgroup, actor: Puppet
) -> None:
    cgroup.set_limit(24)
    assert actor.do("threads", 41) == Births(23, 18, errno.EAGAIN)
    stream.wait_for_ticks()

    assert stream.counts(cgroup.path) == counts(threads=23, refused=18)
    assert stream.refused(cgroup.path) == {"EAGAIN": 18}


@pytest.mark.parametrize(("birth", "kind"), [("keep", "processes"), ("threads", "threads")])
def test_refused_by_the_users_limit(
    stream: Stream, cgroup: OwnCgroup, actor: Puppet, birth: str, kind: str
) -> None:
    # A user that nobody else has, nor has a zombie; the puppet itself is one of the five.
    actor.do("user", random.randrange(100_000, 2_000_000_000), 5)
    assert actor.do(birth, 17) == Births(4, 13, errno.EAGAIN)
    assert cgroup.refused == 0, "the pids controller has no part in it"
    stream.wait_for_ticks()

    assert stream.counts(cgroup.path) == counts(**{kind: 4}, refused=13)
    assert stream.refused(cgroup.path) == {"EAGAIN": 13}


def test_refusal_keeps_its_errno(stream: Stream, cgroup: OwnCgroup, actor: Puppet) -> None:
    assert actor.do("invalid", 19) == Births(0, 19, errno.EINVAL)
    stream.wait_for_ticks()

    assert stream.refused(cgroup.path) == {"EINVAL": 19}
    assert stream.counts(cgroup.path) == counts(refused=19)


def test_clone3_that_a_filter_hides_is_no_refusal(
    stream: Stream, cgroup: OwnCgroup, actor: Puppet
) -> None:
    actor.do("without-clone3")
    assert actor.do("churn", 23) == Births(23, 0, 0)
    cgroup.wait_for_tasks(1)
    stream.wait_for_ticks()

    assert stream.counts(cgroup.path) == counts(threads=23, exited=23)


def test_baseline(host: None, cgroup: OwnCgroup, actor: Puppet) -> None:
    actor.do("threads", 127)
    with Stream("--all") as fresh:
        fresh.finish()

    first = fresh.rates(cgroup.path)[0]["threadtrace"]
    assert first["tasks_count"] == 128
    assert first["top_processes"] == [
        {"pid": actor.pid, "name": "puppet", "threads": 128, "created_count": 0}
    ]
    assert fresh.counts(cgroup.path) == counts()
    second_tick = [event["event"]["sequence"] for event in fresh.named("node.limits")][1]
    assert fresh.rates(cgroup.path)[0]["event"]["sequence"] < second_tick


def test_two_agents_at_once(stream: Stream, cgroup: OwnCgroup, actor: Puppet) -> None:
    with Stream(interval_seconds=0.07) as other:
        actor.do("forks", 89)
        actor.do("threads", 97)
        stream.wait_for_ticks()
        other.finish()

    expected = counts(processes=89, threads=97, exited=89)
    assert stream.counts(cgroup.path) == expected
    assert other.counts(cgroup.path) == expected


def test_end_tells_what_the_last_interval_counted(
    host: None, cgroup: OwnCgroup, actor: Puppet
) -> None:
    with Stream(interval_seconds=3600) as rare:
        actor.do("forks", 61)
        rare.finish()

    assert rare.counts(cgroup.path) == counts(processes=61, exited=61)
