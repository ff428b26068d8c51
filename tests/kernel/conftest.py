"""Every test here runs the real agent."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.stream import Stream


@pytest.fixture(scope="module")
def stream(host: None) -> Iterator[Stream]:
    """One agent for all tests of a module: each has cgroups of its own, so sums do not mix."""
    with Stream() as running:
        yield running
        running.finish()
        # Others on the machine may fill the ring or a map; a skipped program would be ours.
        assert not running.losses()["kernel_programs"]
