"""Every test here runs the real agent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from support.requirements import require
from support.stream import Stream
from threadtrace.probe.btf import KernelTypes

NODE_PID_MAX = Path("/proc/sys/kernel/pid_max")


def _scope(fixture_name: str, config: pytest.Config) -> Literal["module", "session"]:
    """In an emulated guest a start takes ten seconds: one agent for all modules."""
    return "session" if "THREADTRACE_GUEST" in os.environ else "module"


@pytest.fixture(scope=_scope)
def stream(host: None) -> Iterator[Stream]:
    """One agent for all tests of a module: each has cgroups of its own, so sums do not mix."""
    with Stream() as running:
        yield running
        running.finish()
        # Others on the machine may fill the ring or a map; a skipped program would be ours.
        assert not running.losses()["kernel_programs"]


@pytest.fixture
def own_pid_max(host: None) -> Iterator[None]:
    """A kernel on which a PID namespace has a pid_max of its own, so that the node keeps its."""
    has_own = KernelTypes().member_offset("pid_namespace", "pid_max") is not None
    require(has_own, "pid_namespaces", "pid_max for each PID namespace", "Linux 6.14 or newer")
    before = NODE_PID_MAX.read_text()
    yield
    assert NODE_PID_MAX.read_text() == before
