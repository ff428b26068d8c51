"""More processes than CPUs, all forking: each birth is counted, or its loss is told."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from kernels import scene
from support.kernel import programs_are_preempted
from support.stream import Stream

STORMS = 4
STORM_SECONDS = 4
MOST = 100_000


def test_births_in_a_storm_are_counted_or_told(
    agent: Stream, puppet_program: Path, record_property: Callable[[str, object], None]
) -> None:
    with ExitStack() as stack:
        places = [stack.enter_context(scene.place(puppet_program)) for _ in range(STORMS)]
        for one in places:
            one.puppet.start("storm", "forks", STORM_SECONDS, MOST)
        born = sum(one.puppet.finish().created for one in places)
        for one in places:
            one.cgroup.wait_for_tasks(1)
        agent.wait_for_ticks()
        counted = sum(agent.counts(one.cgroup.path)["processes"] for one in places)
        told = agent.losses()["kernel_programs"]
    record_property("born", born)
    record_property("missed", born - counted)
    assert 0 <= born - counted <= told
    assert programs_are_preempted() or not told
