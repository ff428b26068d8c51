"""The usual agent, however cgroups are mounted and whatever the kernel locks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kernels import scene
from support.stream import Stream
from threadtrace.node.hierarchy import find_pids_hierarchy


def test_births_and_refusals(
    guest: str,
    agent: Stream,
    puppet_program: Path,
    record_property: Callable[[str, object], None],
) -> None:
    """What `auto` chooses here, and that it counts."""
    version = find_pids_hierarchy().version
    assert version == (1 if guest in ("v1", "hybrid") else 2)
    scene.births_are_counted(agent, puppet_program)
    details = scene.refusals_are_explained(agent, puppet_program)
    kinds = scene.hook_kinds(agent)
    record_property("hooks", sorted(kinds))
    record_property("evidence", details["evidence"])
    record_property("missing", scene.missing(agent))
    record_property("pids_version", version)
    assert len(kinds) == 1
    assert scene.missing(agent) == []
