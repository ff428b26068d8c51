"""The usual agent, however cgroups are mounted and whatever the kernel locks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kernels import scene
from support.stream import Stream
from threadtrace.node.hierarchy import find_pids_hierarchy


def test_births_and_refusals(
    guest: str, puppet_program: Path, record_property: Callable[[str, object], None]
) -> None:
    """What `auto` chooses here, and that it counts."""
    version = find_pids_hierarchy().version
    assert version == (1 if guest in ("v1", "hybrid") else 2)
    with Stream() as stream:
        scene.births_are_counted(stream, puppet_program)
        details = scene.refusals_are_explained(stream, puppet_program)
        kinds = scene.hook_kinds(stream)
        lacking = scene.missing(stream)
        stream.finish()
        assert not stream.losses()
    record_property("hooks", sorted(kinds))
    record_property("evidence", details["evidence"])
    record_property("missing", lacking)
    record_property("pids_version", version)
    assert len(kinds) == 1
    assert lacking == []
