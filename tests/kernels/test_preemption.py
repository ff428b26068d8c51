"""More processes than CPUs, all forking: each is counted, whoever the kernel preempts meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from kernels import scene
from support.stream import Stream

STORMS = 4
STORM_SECONDS = 4
MOST = 100_000
# Ticks after which an event that nobody caught is told as lost (probe/skipped.py).
UNTIL_TOLD = 6


def test_births_in_a_storm_are_counted(
    agent: Stream, puppet_program: Path, record_property: Callable[[str, object], None]
) -> None:
    with ExitStack() as stack:
        places = [stack.enter_context(scene.place(puppet_program)) for _ in range(STORMS)]
        for one in places:
            one.puppet.start("storm", "forks", STORM_SECONDS, MOST)
        born = [one.puppet.finish().created for one in places]
        for one in places:
            one.cgroup.wait_for_tasks(1)
        agent.wait_for_ticks(UNTIL_TOLD)
        counts = [agent.counts(one.cgroup.path) for one in places]
    record_property("born", sum(born))
    assert [one["processes"] for one in counts] == born
    assert [one["exited"] for one in counts] == born
    assert not agent.losses()["kernel_programs"]
