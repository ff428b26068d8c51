"""The whole node, against the kernel's own total of births."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from support.cgroups import own_cgroup
from support.kernel import total_births
from support.puppet import Births, Puppet
from support.stream import Stream, counts
from support.waiting import wait_until

STORM_SECONDS = 20
STORM_BIRTHS = 2_000_000
STORM_TASKS_LIMIT = 16
REST_SECONDS = 20


class Reading(NamedTuple):
    """How many births both had told of at one moment."""

    kernel_before: int
    agent: int
    kernel_after: int

    @property
    def width(self) -> int:
        """By how much the moment is uncertain; 0 on a machine at rest."""
        return self.kernel_after - self.kernel_before


def reading_at_rest(stream: Stream) -> Reading:
    """Both numbers at one moment.

    The kernel's is read before and after a tick. Where it did not change, nothing was born while
    the agent read its counters, and both numbers mean the same births. A machine seldom rests for
    two ticks: it is tried for a while, and the closest reading is taken.
    """
    readings: list[Reading] = []

    def is_exact() -> bool:
        readings.append(_reading(stream))
        return readings[-1].width == 0

    with suppress(TimeoutError):
        wait_until(is_exact, REST_SECONDS, "nothing is born anywhere for two ticks")
    return min(readings, key=lambda reading: reading.width)


def _reading(stream: Stream) -> Reading:
    before = total_births()
    now = datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")
    start = len(stream.named("node.limits"))

    def second_tick() -> int | None:
        events = stream.named("node.limits")
        # The first one after `now` may have begun before; the second one has not.
        later = [i for i in range(start, len(events)) if events[i]["timestamp"] > now]
        return later[1] if len(later) >= 2 else None

    stream.wait_until(lambda: second_tick() is not None, "two ticks")
    after = total_births()
    last = second_tick()
    assert last is not None
    told = (event["threadtrace"] for event in stream.named("node.limits")[: last + 1])
    agent = sum(t["threads_created_count"] + t["processes_created_count"] for t in told)
    return Reading(before, agent, after)


def assert_exact(start: Reading, end: Reading) -> None:
    """The agent counted what the kernel counted: to the unit, where the machine rested."""
    least = end.kernel_before - start.kernel_after
    most = end.kernel_after - start.kernel_before
    assert least <= end.agent - start.agent <= most


def test_storm_is_counted_to_the_unit(puppet_program: Path) -> None:
    """Forks on both CPUs, threads beside them."""
    storms = ("forks", "forks", "churn")
    with ExitStack() as stack:
        stream = stack.enter_context(Stream(interval_seconds=0.05))
        cgroups = [stack.enter_context(own_cgroup("storm-")) for _ in storms]
        puppets = [stack.enter_context(Puppet(puppet_program)) for _ in storms]
        for cgroup, puppet in zip(cgroups, puppets):
            cgroup.set_limit(STORM_TASKS_LIMIT)
            cgroup.add(puppet.pid)
        start = reading_at_rest(stream)
        for puppet, kind in zip(puppets, storms):
            puppet.start("storm", kind, STORM_SECONDS, STORM_BIRTHS)
        born = [puppet.finish(STORM_SECONDS + 60) for puppet in puppets]
        for cgroup in cgroups:
            cgroup.wait_for_tasks(1)
        end = reading_at_rest(stream)
        stream.finish()

    assert_exact(start, end)
    for cgroup, storm, births in zip(cgroups, storms, born):
        kind = "threads" if storm == "churn" else "processes"
        expected = counts(**{kind: births.created}, exited=births.created)
        expected["refused"] = births.refused
        assert stream.counts(cgroup.path) == expected
        assert births.created > 1000
    losses = stream.losses()
    assert not losses["kernel_programs"]
    assert not losses["cgroups_map"]


def test_more_cgroups_than_the_map_holds(puppet_program: Path) -> None:
    number, forks = 20, 29
    with ExitStack() as stack:
        stream = stack.enter_context(Stream("--max-cgroups", "8", interval_seconds=0.05))
        puppet = stack.enter_context(Puppet(puppet_program))
        cgroups = [stack.enter_context(own_cgroup()) for _ in range(number)]
        start = reading_at_rest(stream)
        for cgroup in cgroups:
            cgroup.add(puppet.pid)
            assert puppet.do("forks", forks) == Births(forks, 0, 0)
        end = reading_at_rest(stream)
        stream.finish()

    assert_exact(start, end)
    attributed = counts()
    for event in stream.named("workload.rates"):
        told = event["threadtrace"]
        attributed["births"] += told["threads_created_count"] + told["processes_created_count"]
        attributed["exited"] += told["exited_count"]
    node = stream.node_counts()
    lost = stream.losses()["cgroups_map"]
    assert lost == (
        node["threads"]
        + node["processes"]
        + node["exited"]
        - attributed["births"]
        - attributed["exited"]
    )
    assert lost >= (number - 8) * 2 * forks
    # Those that found room keep it; one may find it late, where another workload's cgroup goes.
    found = [stream.counts(cgroup.path) for cgroup in cgroups]
    assert len([one for one in found if one != counts()]) <= 8
    assert all(one["processes"] <= forks and one["exited"] <= forks for one in found)
    (loss, *_) = stream.named("loss")
    assert "--max-cgroups" in loss["message"]
