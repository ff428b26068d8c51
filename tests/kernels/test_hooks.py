"""Every hook kind forced in turn: the same numbers, and the same causes."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from kernels import scene
from support.cgroups import own_cgroup
from support.puppet import Births, Puppet
from support.stream import Stream


def test_fexit(
    agent: Stream, puppet_program: Path, record_property: Callable[[str, object], None]
) -> None:
    told_alike(agent, puppet_program, "fexit", record_property)


def test_second_agent_gets_the_same_without_a_compiler(
    agent: Stream, no_bcc: dict[str, str]
) -> None:
    """Before 5.11 the programs of the first count against its limit of locked memory."""
    with Stream(environment=no_bcc) as second:
        assert scene.hook_kinds(second) == scene.hook_kinds(agent) == {"fexit"}


@pytest.mark.parametrize("hook", ["kretprobe", "tracepoint"])
def test_others(
    beside: Mapping[str, Stream],
    puppet_program: Path,
    hook: str,
    record_property: Callable[[str, object], None],
) -> None:
    stream = beside[hook]
    told_alike(stream, puppet_program, hook, record_property)
    stream.finish()
    scene.assert_no_loss(stream)


def told_alike(
    stream: Stream, program: Path, hook: str, record_property: Callable[[str, object], None]
) -> None:
    assert scene.hook_kinds(stream) == {hook}
    assert scene.missing(stream) == []
    scene.births_are_counted(stream, program)
    details = scene.refusals_are_explained(stream, program)
    assert details["evidence"] == ("inferred" if hook == "tracepoint" else "kernel_stage")
    record_property("evidence", details["evidence"])
    owner = into_a_full_cgroup(stream, program)
    record_property("clone_into_cgroup", owner)
    release = tuple(int(part) for part in os.uname().release.split(".")[:2])
    # Else programs cannot look at the registers with which a system call was entered.
    sees_arguments = hook == "fexit" or release >= (5, 15)
    assert owner == ("told" if sees_arguments else "left out")
    assert details.get("kind") == ("thread" if sees_arguments else None)


def into_a_full_cgroup(stream: Stream, program: Path) -> str:
    """CLONE_INTO_CGROUP, as `runc exec` does: whose limit refused is told, or left out."""
    with own_cgroup() as full, scene.place(program) as caller, Puppet(program) as resident:
        full.add(resident.pid)
        full.set_limit(1)
        births = caller.puppet.do("into", full.directory, 7)
        assert births == Births(0, 7, errno.EAGAIN)
        details = scene.told(stream, caller.cgroup.path, 7)
    if "limit_owner" not in details:
        return "left out"  # what is told before 5.15, where only fexit knows of that flag
    assert (details["limit"], details["limit_owner"]) == ("pids_max", full.path)
    return "told"
