"""Cgroups that move, nest, come and go."""

from __future__ import annotations

import signal
from pathlib import Path

from support.cgroups import OwnCgroup, own_cgroup, root_cgroup
from support.puppet import Births, Puppet
from support.stream import Stream, counts, name_of, path_of
from threadtrace.node.cgroups import CgroupTree
from threadtrace.node.hierarchy import find_pids_hierarchy


def tasks_shown(stream: Stream, path: str) -> int:
    """tasks_count of the last tick; a workload that a tick with --all leaves out holds none."""
    events = stream.events
    ticks = [i for i, event in enumerate(events) if name_of(event) == "threadtrace.node.limits"]
    # The last tick's lines may not be complete.
    for event in events[ticks[-2] : ticks[-1]]:
        if name_of(event) == "threadtrace.workload.rates" and path_of(event) == path:
            tasks: int = event["threadtrace"]["tasks_count"]
            return tasks
    return 0


def test_process_that_moves(host: None, cgroup: OwnCgroup, actor: Puppet) -> None:
    with own_cgroup() as other, Stream("--all") as stream:
        actor.do("threads", 101)
        actor.do("forks", 7)
        stream.wait_for_ticks()
        other.add(actor.pid)
        stream.wait_for_ticks()
        assert tasks_shown(stream, cgroup.path) == 0
        assert tasks_shown(stream, other.path) == 102
        actor.do("threads", 103)
        actor.do("forks", 11)
        stream.wait_for_ticks()

        assert stream.counts(cgroup.path) == counts(threads=101, processes=7, exited=7)
        assert stream.counts(other.path) == counts(threads=103, processes=11, exited=11)
        assert tasks_shown(stream, other.path) == 205
        top = stream.rates(other.path)[-1]["threadtrace"]["top_processes"]
        assert [(process["pid"], process["threads"]) for process in top] == [(actor.pid, 205)]


def test_process_that_moves_between_two_births_of_one_interval(
    host: None, cgroup: OwnCgroup, actor: Puppet
) -> None:
    with own_cgroup() as other, Stream(interval_seconds=3600) as rare:
        actor.do("threads", 19)
        other.add(actor.pid)
        actor.do("threads", 23)
        actor.do("join", 5)
        other.wait_for_tasks(1 + 19 + 23 - 5)
        rare.finish()

    assert rare.counts(cgroup.path) == counts(threads=19)
    assert rare.counts(other.path) == counts(threads=23, exited=5)
    assert rare.rates(other.path)[-1]["threadtrace"]["tasks_count"] == 38
    assert rare.rates(cgroup.path)[-1]["threadtrace"]["tasks_count"] == 0


def test_moved_process_leaves_top_processes_of_the_old_cgroup(
    host: None, cgroup: OwnCgroup, actor: Puppet, puppet_program: Path
) -> None:
    with Puppet(puppet_program) as stays, own_cgroup() as other, Stream("--all") as stream:
        cgroup.add(stays.pid)
        actor.do("threads", 5)
        stays.do("threads", 2)
        stream.wait_for_ticks()
        other.add(actor.pid)
        stays.do("threads", 2)

        def shown() -> list[int]:
            last = stream.rates(cgroup.path)[-1]["threadtrace"]
            return [process["pid"] for process in last["top_processes"]]

        stream.wait_until(lambda: shown() == [stays.pid], "only the process that stayed")


def test_cgroup_that_lives_for_a_moment(stream: Stream, actor: Puppet, cgroup: OwnCgroup) -> None:
    short = f"{cgroup.directory}/moment"
    assert actor.do("visit", short, 7) == Births(7, 0, 0)
    stream.wait_for_ticks()

    path = f"{cgroup.path}/moment"
    assert stream.counts(path) == counts(processes=7, exited=7)
    (started,) = [event for event in stream.named("workload.started") if path_of(event) == path]
    (ended,) = [event for event in stream.named("workload.ended") if path_of(event) == path]
    assert started["timestamp"] < ended["timestamp"]
    details = ended["threadtrace"]
    assert details["processes_created_count"] == 7
    assert details["threads_created_count"] == 0
    assert details["exited_count"] == 7
    assert details["refused_count"] == 0
    assert stream.counts(cgroup.path) == counts()


def test_many_cgroups_that_live_for_a_moment(actor: Puppet, cgroup: OwnCgroup) -> None:
    """Whatever a tick does at that moment, no birth goes with its cgroup."""
    number, forks = 307, 3
    with Stream(interval_seconds=0.05) as busy:
        for index in range(number):
            assert actor.do("visit", f"{cgroup.directory}/{index}", forks) == Births(forks, 0, 0)
        busy.finish()

    paths = [f"{cgroup.path}/{index}" for index in range(number)]
    expected = counts(processes=forks, exited=forks)
    assert {p: c for p in paths if (c := busy.counts(p)) != expected} == {}
    for name in ("workload.started", "workload.ended"):
        events = [event for event in busy.named(name) if path_of(event) in paths]
        assert sorted(map(path_of, events), key=str) == sorted(paths)
        if name == "workload.ended":
            created = [event["threadtrace"]["processes_created_count"] for event in events]
            assert created == [forks] * number
    assert not busy.losses()


def test_workload_ends_with_the_totals_of_its_life(stream: Stream, puppet_program: Path) -> None:
    with own_cgroup() as cgroup:
        with Puppet(puppet_program) as puppet:
            cgroup.add(puppet.pid)
            puppet.do("threads", 29)
            stream.wait_for_ticks()
            puppet.do("forks", 31)
            cgroup.set_limit(30)
            puppet.do("forks", 3)
            puppet.end()
        cgroup.wait_for_tasks(0)
    ended = stream.wait_for(
        lambda event: (
            name_of(event) == "threadtrace.workload.ended" and path_of(event) == cgroup.path
        )
    )["threadtrace"]

    assert ended["threads_created_count"] == 29
    assert ended["processes_created_count"] == 31
    assert ended["exited_count"] == 30 + 31
    assert ended["refused_count"] == 3
    assert ended["tasks_peak"] in (30, 31), "with the one child that a tick may have met"


def test_nested_cgroups(
    stream: Stream, puppet_program: Path, actor: Puppet, cgroup: OwnCgroup
) -> None:
    inner = cgroup.child("inner")
    with Puppet(puppet_program) as within:
        inner.add(within.pid)
        actor.do("threads", 13)
        within.do("threads", 17)
        within.do("forks", 5)
        stream.wait_for_ticks()

    assert stream.counts(cgroup.path) == counts(threads=13)
    assert stream.counts(inner.path) == counts(threads=17, processes=5, exited=5)
    assert stream.rates(cgroup.path)[-1]["threadtrace"]["tasks_count"] == 14
    assert stream.rates(inner.path)[-1]["threadtrace"]["tasks_count"] == 18


def test_nearest_limit_is_shown(
    host: None, actor: Puppet, cgroup: OwnCgroup, puppet_program: Path
) -> None:
    inner = cgroup.child("inner")
    cgroup.set_limit(499)
    inner.set_limit(97)
    with Puppet(puppet_program) as within, Stream("--all") as stream:
        inner.add(within.pid)
        within.do("threads", 3)
        actor.do("threads", 5)

        def limit_of(path: str) -> tuple[int, str, int] | None:
            names = ("tasks_limit", "tasks_limit_owner", "tasks_limit_usage")
            shown = stream.rates(path)[-1]["threadtrace"]
            return tuple(shown[name] for name in names) if names[0] in shown else None

        def wait_for_limit(owner: OwnCgroup, limit: int, usage: int) -> None:
            expected = (limit, owner.path, usage)
            stream.wait_until(
                lambda: bool(stream.rates(inner.path)) and limit_of(inner.path) == expected,
                f"the limit {expected}",
            )

        wait_for_limit(inner, 97, 4)
        assert limit_of(cgroup.path) == (499, cgroup.path, 10)
        inner.set_limit(None)
        wait_for_limit(cgroup, 499, 10)
        cgroup.set_limit(503)
        wait_for_limit(cgroup, 503, 10)


def test_refusal_by_an_ancestor_is_the_victims(
    stream: Stream, actor: Puppet, cgroup: OwnCgroup
) -> None:
    inner = cgroup.child("inner")
    inner.add(actor.pid)
    cgroup.set_limit(1)
    actor.do("forks", 13)
    stream.wait_for_ticks()

    assert stream.refused(inner.path) == {"EAGAIN": 13}
    assert stream.counts(cgroup.path) == counts()


def test_renamed_cgroup(stream: Stream, actor: Puppet, cgroup: OwnCgroup) -> None:
    """Only version 1 can rename."""
    if root_cgroup()._version == 2:
        return
    old = cgroup.child("old")
    old.add(actor.pid)
    actor.do("forks", 3)
    stream.wait_for_ticks()
    new = cgroup.directory / "new"
    old.directory.rename(new)
    try:
        stream.wait_for_ticks()
        actor.do("forks", 5)
        stream.wait_for_ticks()
        assert stream.counts(f"{cgroup.path}/old") == counts(processes=3, exited=3)
        assert stream.counts(f"{cgroup.path}/new") == counts(processes=5, exited=5)
    finally:
        cgroup.add(actor.pid)


def test_counter_kept_open_tells_that_its_cgroup_is_gone(host: None) -> None:
    tree = CgroupTree(find_pids_hierarchy(), max_descriptors=10_000)
    try:
        with own_cgroup() as cgroup:
            seen = tree.id_of_path(cgroup.path)
            tree.refresh(set(), everything=True)
            known = tree.find(seen or 0)
            assert known is not None
            assert known.fd >= 0
        tree.refresh({known})
        assert known in tree.take_vanished()
        assert known.fd < 0
        assert known.tasks == 0
    finally:
        tree.close()


def test_thousands_that_go_while_the_agent_is_busy(cgroup: OwnCgroup) -> None:
    """What is told of them has room until they are looked at: nothing is lost."""
    with Stream() as stream:
        gone = []
        while len(gone) < 9000:
            gone += [cgroup.child(f"batch-{len(gone)}-{i}") for i in range(1500)]
            stream.wait_for_ticks()
        stream.send(signal.SIGSTOP)
        for child in gone:
            child.directory.rmdir()
        stream.send(signal.SIGCONT)
        stream.wait_until(
            lambda: len(stream.named("workload.ended")) >= len(gone), "all are told to be gone"
        )
        stream.finish()
    assert stream.losses()["records_ring"] == 0
