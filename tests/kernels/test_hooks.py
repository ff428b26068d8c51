"""Every hook kind forced in turn: the same numbers, and the same causes."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from kernels import scene
from support.cgroups import own_cgroup
from support.puppet import Births, Puppet
from support.stream import Stream

HOOKS = ("fexit", "kretprobe", "tracepoint")


@pytest.mark.parametrize("hook", HOOKS)
def test_each_hook_tells_the_same(
    guest: str, puppet_program: Path, hook: str, record_property: Callable[[str, object], None]
) -> None:
    with Stream("--refusal-hook", hook) as stream:
        assert scene.hook_kinds(stream) == {hook}
        assert scene.missing(stream) == []
        scene.births_are_counted(stream, puppet_program)
        details = scene.refusals_are_explained(stream, puppet_program)
        owner = into_a_full_cgroup(stream, puppet_program)
        stream.finish()
        assert not stream.losses()
    assert details["evidence"] == ("inferred" if hook == "tracepoint" else "kernel_stage")
    record_property("hook", hook)
    record_property("evidence", details["evidence"])
    record_property("clone_into_cgroup", owner)


def into_a_full_cgroup(stream: Stream, program: Path) -> str:
    """CLONE_INTO_CGROUP, as `runc exec` does: whose limit refused is told, or left out."""
    with own_cgroup() as full, scene.place(program) as caller, Puppet(program) as resident:
        full.add(resident.pid)
        full.set_limit(1)
        births = caller.puppet.do("into", full.directory, 7)
        assert births == Births(0, 7, errno.EAGAIN)
        details = scene.told(stream, caller.cgroup.path, 7)
    if "limit_owner" not in details:
        return "left out"
    assert (details["limit"], details["limit_owner"]) == ("pids_max", full.path)
    return "told"
