"""Births and refusals of known number, which must be told alike by every hook on every kernel."""

from __future__ import annotations

import errno
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.cgroups import OwnCgroup, own_cgroup
from support.kernel import skips_programs_of_perf_events
from support.puppet import Births, Puppet
from support.stream import Event, Stream, counts, path_of

BIRTHS = {"threads": 61, "forks": 23, "vforks": 11, "spawns": 7, "churn": 19}
REFUSED = 13
USERS_LIMIT = 5


@dataclass
class Place:
    """A cgroup and a puppet in it."""

    cgroup: OwnCgroup
    puppet: Puppet


@contextmanager
def place(program: Path) -> Iterator[Place]:
    """One that nobody else has."""
    with own_cgroup() as cgroup, Puppet(program) as puppet:
        cgroup.add(puppet.pid)
        yield Place(cgroup, puppet)


def births_are_counted(stream: Stream, program: Path) -> None:
    """Each way to create a task, in a cgroup of its own: to the unit."""
    with ExitStack() as stack:
        places = {way: stack.enter_context(place(program)) for way in BIRTHS}
        for way, number in BIRTHS.items():
            assert places[way].puppet.do(way, number) == Births(number, 0, 0)
            places[way].cgroup.wait_for_tasks(1 + (number if way == "threads" else 0))
        stream.wait_for_ticks()
        for way, number in BIRTHS.items():
            kind = "threads" if way in ("threads", "churn") else "processes"
            exited = 0 if way == "threads" else number
            expected = counts(**{kind: number}, exited=exited)
            assert stream.counts(places[way].cgroup.path) == expected, way


def refusals_are_explained(stream: Stream, program: Path) -> dict[str, Any]:
    """Refusals by the own limit, by one above and by the user's; the details of the first."""
    with place(program) as own:
        own.cgroup.set_limit(1)
        assert own.puppet.do("threads", REFUSED) == Births(0, REFUSED, errno.EAGAIN)
        assert own.puppet.do("forks", REFUSED) == Births(0, REFUSED, errno.EAGAIN)
        own_details = told(stream, own.cgroup.path, 2 * REFUSED)
    assert own_details["limit"] == "pids_max"
    assert own_details["limit_owner"] == own.cgroup.path
    assert (own_details["limit_value"], own_details["usage_value"]) == (1, 1)

    with own_cgroup() as above, Puppet(program) as puppet:
        below = above.child("below")
        below.add(puppet.pid)
        above.set_limit(4)
        assert puppet.do("threads", 3 + REFUSED) == Births(3, REFUSED, errno.EAGAIN)
        details = told(stream, below.path, REFUSED)
    assert (details["limit"], details["limit_owner"]) == ("pids_max", above.path)

    uid = random.randrange(100_000, 2_000_000_000)
    with place(program) as user:
        user.puppet.do("user", uid, USERS_LIMIT)
        births = Births(USERS_LIMIT - 1, REFUSED, errno.EAGAIN)
        assert user.puppet.do("threads", USERS_LIMIT - 1 + REFUSED) == births
        details = told(stream, user.cgroup.path, REFUSED)
    assert (details["limit"], details["limit_owner"]) == ("rlimit_nproc", f"uid {uid}")
    return own_details


def told(stream: Stream, path: str, number: int) -> dict[str, Any]:
    """Wait until so many refusals of a victim are told; the first one's details."""

    def are_told() -> bool:
        return (
            sum(1 + e["threadtrace"]["suppressed_count"] for e in refusals(stream, path)) >= number
        )

    stream.wait_until(are_told, f"{number} refusals are told")
    stream.wait_for_ticks()
    assert stream.counts(path)["refused"] == number
    details: dict[str, Any] = refusals(stream, path)[0]["threadtrace"]
    return details


def refusals(stream: Stream, path: str) -> list[Event]:
    """The fork.refused events of a victim."""
    return [event for event in stream.named("fork.refused") if path_of(event) == path]


def hook_kinds(stream: Stream) -> set[str]:
    """How the programs that see refusals are attached."""
    hooks = stream.started["threadtrace"]["hooks"]
    functions = ("copy_process", "sys_exit_clone")
    return {h["kind"] for h in hooks if any(name in h["target"] for name in functions)}


def missing(stream: Stream) -> list[str]:
    """What the agent says that it cannot do here."""
    return [entry["what"] for entry in stream.started["threadtrace"].get("missing", [])]


def assert_no_loss(stream: Stream) -> None:
    """Nothing is lost but what a perf event's program is skipped for, of whatever result."""
    losses = stream.losses()
    if hook_kinds(stream) != {"fexit"} and skips_programs_of_perf_events():
        del losses["kernel_programs"], losses["return_probes"]
    assert dict(losses) == {}
