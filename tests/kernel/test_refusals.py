"""Each cause of a refused clone, provoked for real, is told right."""

from __future__ import annotations

import errno
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.cgroups import OwnCgroup, own_cgroup, require_version_2
from support.puppet import Births, Puppet
from support.requirements import require
from support.stream import Stream, path_of
from threadtrace.probe.btf import KernelTypes

PID_MAX = 400
RESERVED_PIDS = 300


def refusals(stream: Stream, path: str) -> list[dict[str, Any]]:
    """The fork.refused events of a victim."""
    return [event for event in stream.named("fork.refused") if path_of(event) == path]


def wait_for_refusals(stream: Stream, path: str, count: int) -> list[dict[str, Any]]:
    """All events of a victim, once they tell of that many refusals, suppressed ones included."""

    def told() -> int:
        details = [event["threadtrace"] for event in refusals(stream, path)]
        return sum(1 + entry["suppressed_count"] for entry in details)

    stream.wait_until(lambda: told() >= count, f"{count} refusals are told")
    assert told() == count
    return refusals(stream, path)


def only_cause(events: list[dict[str, Any]]) -> dict[str, Any]:
    """What all events agree on: errno, limit and its owner; of the first event, the rest."""
    causes = {
        (event["threadtrace"]["errno"], event["threadtrace"]["limit"], _owner_of(event))
        for event in events
    }
    assert len(causes) == 1, causes
    details: dict[str, Any] = events[0]["threadtrace"]
    assert details["evidence"] in ("inferred", "kernel_stage"), "as this kernel allows"
    return details


def _owner_of(event: dict[str, Any]) -> str | None:
    owner: str | None = event["threadtrace"].get("limit_owner")
    return owner


def counts_by_namespace() -> bool:
    """Since 5.14 RLIMIT_NPROC counts a user in each user namespace on its own."""
    return KernelTypes().member_offset("cred", "ucounts") is not None


@pytest.fixture
def second(puppet_program: Path, cgroup: OwnCgroup) -> Iterator[Puppet]:
    """A puppet in a sibling of the victim's cgroup."""
    with Puppet(puppet_program) as running:
        cgroup.child("second").add(running.pid)
        yield running


@pytest.mark.parametrize(("birth", "kind"), [("threads", "thread"), ("forks", "process")])
def test_own_pids_max(
    stream: Stream, cgroup: OwnCgroup, actor: Puppet, birth: str, kind: str
) -> None:
    cgroup.set_limit(1)
    assert actor.do(birth, 13) == Births(0, 13, errno.EAGAIN)

    events = wait_for_refusals(stream, cgroup.path, 13)
    details = only_cause(events)
    assert (details["limit"], details["errno"]) == ("pids_max", "EAGAIN")
    assert (details["limit_value"], details["usage_value"]) == (1, 1)
    assert details["limit_owner"] == cgroup.path
    assert details["is_own_limit"] is True
    assert details["kind"] == kind
    assert events[0]["process"]["pid"] == actor.pid
    assert events[0]["process"]["thread"]["name"] == "puppet"
    assert events[0]["severity_text"] == "WARN"
    (culprit,) = details["culprits"]
    assert (culprit["tasks_count"], culprit["share_ratio"]) == (1, 1.0)
    assert culprit["process"] == {"pid": actor.pid, "name": "puppet", "threads": 1}


@pytest.mark.parametrize("levels", [1, 2, 5])
def test_pids_max_of_an_ancestor_held_by_a_sibling(
    stream: Stream, cgroup: OwnCgroup, puppet_program: Path, second: Puppet, levels: int
) -> None:
    """The victim holds one task of the limit, its sibling the rest: it is the culprit."""
    victim = cgroup
    for level in range(levels):
        victim = victim.child(f"level-{level}")
        victim.set_limit(1000)
    with Puppet(puppet_program) as refused:
        victim.add(refused.pid)
        assert second.do("threads", 57) == Births(57, 0, 0)
        cgroup.set_limit(59)
        assert refused.do("threads", 7) == Births(0, 7, errno.EAGAIN)

        details = only_cause(wait_for_refusals(stream, victim.path, 7))
        assert details["limit"] == "pids_max"
        assert details["limit_owner"] == cgroup.path
        assert (details["limit_value"], details["usage_value"]) == (59, 59)
        assert details["is_own_limit"] is False
        names = [culprit["workload"]["name"] for culprit in details["culprits"]]
        assert names[0] == f"{cgroup.path}/second"
        assert details["culprits"][0]["tasks_count"] == 58
        assert details["culprits"][0]["process"]["threads"] == 58
        assert details["culprits"][0]["process"]["pid"] == second.pid


def test_limit_below_present_usage(stream: Stream, cgroup: OwnCgroup, actor: Puppet) -> None:
    assert actor.do("threads", 20) == Births(20, 0, 0)
    cgroup.set_limit(5)
    assert actor.do("forks", 3) == Births(0, 3, errno.EAGAIN)

    details = only_cause(wait_for_refusals(stream, cgroup.path, 3))
    assert (details["limit_value"], details["usage_value"]) == (5, 21)
    assert details["culprits"][0]["tasks_count"] == 21


def test_users_limit_shared_by_two_cgroups(
    stream: Stream, cgroup: OwnCgroup, puppet_program: Path, second: Puppet
) -> None:
    uid = random.randrange(100_000, 2_000_000_000)
    victim = cgroup.child("victim")
    with Puppet(puppet_program) as refused:
        victim.add(refused.pid)
        second.do("user", uid, 30)
        assert second.do("threads", 28) == Births(28, 0, 0)
        refused.do("user", uid, 30)
        assert refused.do("threads", 11) == Births(0, 11, errno.EAGAIN)

        details = only_cause(wait_for_refusals(stream, victim.path, 11))
        assert details["limit"] == "rlimit_nproc"
        assert details["limit_owner"] == f"uid {uid}"
        assert (details["limit_value"], details["usage_value"]) == (30, 30)
        held = {
            culprit["workload"]["name"]: culprit["tasks_count"] for culprit in details["culprits"]
        }
        assert held == {f"{cgroup.path}/second": 29, victim.path: 1}
        assert str(uid) in details["knob"]


def test_users_limit_in_a_user_namespace(stream: Stream, cgroup: OwnCgroup, actor: Puppet) -> None:
    uid = random.randrange(100_000, 2_000_000_000)
    actor.do("user", uid, 8)
    actor.do("user-namespace")
    namespace = Path(f"/proc/{actor.pid}/ns/user").stat().st_ino
    assert actor.do("threads", 13) == Births(7, 6, errno.EAGAIN)

    details = only_cause(wait_for_refusals(stream, cgroup.path, 6))
    assert details["limit"] == "rlimit_nproc"
    counted_where = f" in user namespace {namespace}" if counts_by_namespace() else ""
    assert details["limit_owner"] == f"uid {uid}{counted_where}"
    assert (details["limit_value"], details["usage_value"]) == (8, 8)


@pytest.mark.parametrize("has_wrapped", [False, True])
@pytest.mark.parametrize("levels_below", [0, 1])
def test_pid_max_of_a_namespace(
    stream: Stream,
    cgroup: OwnCgroup,
    actor: Puppet,
    own_pid_max: None,
    levels_below: int,
    has_wrapped: bool,
) -> None:
    actor.do("pid-namespace", PID_MAX)
    for _ in range(levels_below):
        actor.do("pid-namespace", 0)
    if has_wrapped:
        assert actor.do("forks", PID_MAX).refused == 0
    births = actor.do("keep", PID_MAX)
    assert births.error == errno.EAGAIN
    assert births.created + births.refused == PID_MAX

    details = only_cause(wait_for_refusals(stream, cgroup.path, births.refused))
    assert details["limit"] == "pid_max"
    assert details["limit_owner"].startswith("PID namespace level 1 of init ")
    assert details["limit_value"] == PID_MAX
    assert details["usage_value"] >= PID_MAX - RESERVED_PIDS
    assert details["culprits"][0]["workload"]["name"] == cgroup.path
    assert details["culprits"][0]["tasks_count"] >= births.created
    severities = {event["severity_text"] for event in refusals(stream, cgroup.path)}
    assert severities == {"WARN"}, "the node itself is not in danger"


def test_pid_namespaces_one_after_the_other_are_two(
    stream: Stream, cgroup: OwnCgroup, puppet_program: Path, own_pid_max: None
) -> None:
    """The kernel gives the inode number of the first to the second."""
    owners = []
    for name in ("first", "second"):
        victim = cgroup.child(name)
        with Puppet(puppet_program) as puppet:
            victim.add(puppet.pid)
            puppet.do("pid-namespace", PID_MAX)
            refused = puppet.do("keep", PID_MAX).refused
            details = only_cause(wait_for_refusals(stream, victim.path, refused))
            owners.append(details["limit_owner"])
        victim.wait_for_tasks(0)
    assert owners[0] != owners[1]


def test_dead_pid_namespace(stream: Stream, cgroup: OwnCgroup, actor: Puppet) -> None:
    assert actor.do("dead-namespace", 9) == Births(1, 9, errno.ENOMEM)

    details = only_cause(wait_for_refusals(stream, cgroup.path, 9))
    assert (details["limit"], details["errno"]) == ("namespace", "ENOMEM")


def test_number_of_namespaces(stream: Stream, cgroup: OwnCgroup, actor: Puppet) -> None:
    assert actor.do("namespaces", 5) == Births(0, 5, errno.ENOSPC)

    details = only_cause(wait_for_refusals(stream, cgroup.path, 5))
    assert (details["limit"], details["errno"]) == ("namespace", "ENOSPC")
    assert "limit_value" not in details


def test_memory(stream: Stream, cgroup: OwnCgroup, actor: Puppet) -> None:
    overcommit = Path("/proc/sys/vm/overcommit_memory").read_text().strip()
    require(overcommit == "0", "kernel", "vm.overcommit_memory=0", "sysctl vm.overcommit_memory=0")
    actor.do("hoard")
    assert actor.do("forks", 8) == Births(0, 8, errno.ENOMEM)

    details = only_cause(wait_for_refusals(stream, cgroup.path, 8))
    assert (details["limit"], details["errno"]) == ("memory", "ENOMEM")
    assert details["kind"] == "process"
    assert "memory limit" in details["knob"]


def test_forbidden_by_a_security_policy(stream: Stream, cgroup: OwnCgroup, actor: Puppet) -> None:
    """A seccomp filter answers in the kernel's place: only who looks at system calls sees it."""
    assert actor.do("forbidden", errno.EPERM, 4) == Births(0, 4, errno.EPERM)
    started = stream.named("started")[0]["threadtrace"]
    if any("copy_process" in hook["target"] for hook in started["hooks"]):
        stream.wait_for_ticks()
        assert not refusals(stream, cgroup.path)
        return
    details = only_cause(wait_for_refusals(stream, cgroup.path, 4))
    assert (details["limit"], details["errno"]) == ("other", "EPERM")
    assert "security module" in details["knob"]


def test_clone_into_a_full_cgroup(
    stream: Stream, cgroup: OwnCgroup, actor: Puppet, puppet_program: Path
) -> None:
    """As runc exec does: the limit is that of the container, the caller is outside of it."""
    require_version_2()
    with own_cgroup() as full, Puppet(puppet_program) as resident:
        full.add(resident.pid)
        full.set_limit(1)
        assert actor.do("into", full.directory, 7) == Births(0, 7, errno.EAGAIN)

        details = only_cause(wait_for_refusals(stream, cgroup.path, 7))
        assert (details["limit"], details["limit_owner"]) == ("pids_max", full.path)
        assert (details["limit_value"], details["usage_value"]) == (1, 1)
        assert details["is_own_limit"] is False
        assert details["culprits"][0]["workload"]["name"] == full.path


def test_flags_that_no_kernel_takes(stream: Stream, cgroup: OwnCgroup, actor: Puppet) -> None:
    assert actor.do("invalid", 19) == Births(0, 19, errno.EINVAL)

    details = only_cause(wait_for_refusals(stream, cgroup.path, 19))
    assert (details["limit"], details["errno"]) == ("other", "EINVAL")
    assert details["kind"] == "thread"


def test_two_limits_reached_at_once(stream: Stream, cgroup: OwnCgroup, actor: Puppet) -> None:
    """The first in the kernel's order refused; the other one is named too."""
    actor.do("user", random.randrange(100_000, 2_000_000_000), 1)
    cgroup.set_limit(1)
    assert actor.do("forks", 6) == Births(0, 6, errno.EAGAIN)

    details = only_cause(wait_for_refusals(stream, cgroup.path, 6))
    assert details["limit"] == "rlimit_nproc"
    assert details["also_reached"] == ["pids_max"]


def test_storm_is_told_in_a_few_events(cgroup: OwnCgroup, actor: Puppet) -> None:
    cgroup.set_limit(1)
    with Stream(interval_seconds=0.5) as busy:
        births = actor.do("storm", "forks", 4, 300_000)
        assert births.created == 0
        events = wait_for_refusals(busy, cgroup.path, births.refused)
        busy.finish()
    assert births.refused > 10_000
    assert len(events) <= 8
    assert {event["threadtrace"]["limit"] for event in events} == {"pids_max"}
    assert events[-1]["threadtrace"]["refused_count"] == births.refused
    assert not busy.losses()


def test_all_are_told_of_a_victim_that_goes_at_once(
    stream: Stream, cgroup: OwnCgroup, puppet_program: Path
) -> None:
    victim = cgroup.child("victim")
    with Puppet(puppet_program) as puppet:
        victim.add(puppet.pid)
        victim.set_limit(1)
        assert puppet.do("forks", 43).refused == 43
    victim.wait_for_tasks(0)
    victim.directory.rmdir()
    events = wait_for_refusals(stream, victim.path, 43)
    assert events[-1]["threadtrace"]["refused_count"] == 43


def test_the_end_tells_all(cgroup: OwnCgroup, actor: Puppet) -> None:
    cgroup.set_limit(1)
    with Stream() as ending:
        assert actor.do("forks", 37).refused == 37
        ending.finish()
    told = [event["threadtrace"] for event in refusals(ending, cgroup.path)]
    assert sum(1 + entry["suppressed_count"] for entry in told) == 37


@pytest.mark.parametrize("raw", [b"\x1b[31mred", b"\xff\xfe", b"[bold]x", b"a\nb"])
def test_victim_with_a_hostile_name(
    stream: Stream, cgroup: OwnCgroup, actor: Puppet, raw: bytes
) -> None:
    actor.do("name", raw.hex())
    cgroup.set_limit(1)
    actor.do("forks", 1)
    (event,) = wait_for_refusals(stream, cgroup.path, 1)
    assert event["process"]["thread"]["name"] == raw.decode("utf-8", "replace")
    assert event["message"].isprintable()
