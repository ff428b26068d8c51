"""How long until a limit is exhausted: of each workload that grows, and of the node."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from threadtrace.clock import Clock
from threadtrace.detect.trend import Trend
from threadtrace.model.accounts import Account
from threadtrace.model.explosion import Forecast
from threadtrace.node.cgroups import Cgroup, CgroupTree
from threadtrace.node.limits import RESERVED_PIDS, NodeLimits
from threadtrace.owners import owner_and_knob
from threadtrace.probe.records import HiddenLimit, Limit
from threadtrace.probe.source import CounterSource

# The slope is that of so many seconds: longer, and a change of pace would show late.
_SLOPE_SECONDS = 30.0

# Who has not grown for so long, and longer where growth is slow, does not grow.
_LEAST_SILENT_SECONDS = 3.0

# Growth of the node's tasks below this within that time is its usual coming and going.
_NOTABLE_TASKS = 16

# What the kernel found of a user's or namespace's limit at a birth is not told any more after this.
_STALE_NS = 60_000_000_000
_ASKED_CGROUPS = 8

_FORGET_SECONDS = 60.0


class Binding(NamedTuple):
    """A limit that a workload's next task counts against."""

    limit: Limit
    owner: int
    """As in ``struct refusal_key``; 0 where the limit is the node's."""
    usage: int
    value: int
    """That can be used."""
    cgroup: Cgroup | None = None
    """That which has a pids.max."""
    level: int = 0
    """Of a PID namespace."""


class Forecasts:
    """Follows the use of limits.

    What grows: one trend for each limit that binds a workload which is followed; dropped when it
    was not asked for during a minute.
    """

    def __init__(self, tree: CgroupTree, source: CounterSource, clock: Clock) -> None:
        """Begin with nothing.

        Args:
            tree: cgroups with their counters and limits.
            source: for what only the kernel knows.
            clock: for how old that is.
        """
        self._tree = tree
        self._source = source
        self._clock = clock
        self._trends: dict[tuple[Limit, int], Trend] = {}
        self._slopes: dict[tuple[tuple[Limit, int], float], float | None] = {}
        self._slopes_s = 0.0
        self._node: Trend | None = None
        self._limits = NodeLimits(None, None, None)

    def follow_node(self, limits: NodeLimits, time_s: float) -> float | None:
        """Take in the node's limits, once a tick; seconds until the nearest is exhausted."""
        self._limits = limits
        self._forget(time_s)
        rooms = [
            value - limits.tasks_count
            for value in (limits.pid_max_usable, limits.threads_max)
            if value and limits.tasks_count is not None
        ]
        if limits.tasks_count is None or not rooms:
            return None
        if self._node is None:
            self._node = Trend(time_s, limits.tasks_count)
        self._node.add(time_s, limits.tasks_count)
        since_s = time_s - _SLOPE_SECONDS
        slope = _present_slope(self._node, since_s)
        gained = limits.tasks_count - self._node.before(since_s).value
        if slope is None or slope <= 0 or gained < _NOTABLE_TASKS:
            return None
        return max(0, min(rooms)) / slope

    def forget_gap(self) -> None:
        """Nobody looked for a while: a slope over it would tell nothing."""
        self._trends.clear()
        self._node = None

    def bindings(self, account: Account) -> list[Binding]:
        """All limits that bind a workload, with their present use."""
        return [*self._of_cgroups(account), *self._of_node(), *self._hidden(account)]

    def forecast(self, account: Account, time_s: float, since_s: float) -> Forecast | None:
        """The limit that will be exhausted first; of those that do not grow, the one most used.

        None where the workload has no limit at all that can be read.

        Args:
            account: the workload.
            time_s: now.
            since_s: when it began to grow: what was before does not count.
        """
        nearest: tuple[float, float] | None = None
        found: tuple[Binding, float | None] | None = None
        for binding in self.bindings(account):
            seconds = self._seconds_left(binding, time_s, since_s)
            used = binding.usage / binding.value if binding.value > 0 else 1.0
            rank = (float("inf") if seconds is None else seconds, -used)
            if nearest is None or rank < nearest:
                nearest, found = rank, (binding, seconds)
        if found is None:
            return None
        binding, seconds = found
        owner, knob = owner_and_knob(binding.limit, binding.owner, binding.cgroup, binding.level)
        return Forecast(binding.limit, owner or "", binding.value, binding.usage, seconds, knob)

    def _seconds_left(self, binding: Binding, time_s: float, since_s: float) -> float | None:
        slope = self._slope(binding, time_s, max(since_s, time_s - _SLOPE_SECONDS))
        if slope is None or slope <= 0:
            return None
        return max(0, binding.value - binding.usage) / slope

    def _slope(self, binding: Binding, time_s: float, since_s: float) -> float | None:
        """Of the use of a limit; once a look, however many workloads the limit binds."""
        if self._slopes_s != time_s:
            self._slopes_s = time_s
            self._slopes.clear()
        key = binding.limit, binding.owner
        if (key, since_s) not in self._slopes:
            trend = self._trends.get(key)
            if trend is None:
                trend = self._trends[key] = Trend(time_s, binding.usage)
            trend.add(time_s, binding.usage)
            self._slopes[key, since_s] = _present_slope(trend, since_s)
        return self._slopes[key, since_s]

    def _of_cgroups(self, account: Account) -> Iterator[Binding]:
        cgroup = account.top
        while cgroup is not None:
            if cgroup.limit is not None:
                yield Binding(Limit.PIDS_MAX, cgroup.id, cgroup.tasks, cgroup.limit, cgroup)
            cgroup = cgroup.parent

    def _of_node(self) -> Iterator[Binding]:
        tasks = self._tree.root.tasks
        if self._limits.tasks_count is None:
            return
        for limit, value in (
            (Limit.PID_MAX, self._limits.pid_max_usable),
            (Limit.THREADS_MAX, self._limits.threads_max),
        ):
            if value is not None:
                yield Binding(limit, 0, tasks, value)

    def _hidden(self, account: Account) -> Iterator[Binding]:
        """RLIMIT_NPROC of who creates there, and the pid_max of a PID namespace of its own."""
        now_ns = self._clock.monotonic_ns()
        for cgroup_id in islice(account.cgroup_ids, _ASKED_CGROUPS):
            found = self._source.read_hidden_limits(cgroup_id)
            if found is None or now_ns - found.window_ns > _STALE_NS:
                continue
            user, namespace = found.user, found.pid_namespace
            if user is not None:
                yield Binding(Limit.RLIMIT_NPROC, user.owner, user.usage, user.limit_value)
            if namespace is not None and found.pid_namespace_level:
                usable = _usable_pids(namespace)
                level = found.pid_namespace_level
                yield Binding(Limit.PID_MAX, namespace.owner, namespace.usage, usable, None, level)

    def _forget(self, time_s: float) -> None:
        oldest = time_s - _FORGET_SECONDS
        for key in [key for key, trend in self._trends.items() if trend.last.time_s < oldest]:
            del self._trends[key]


def _present_slope(trend: Trend, since_s: float) -> float | None:
    """None where it has stopped: two more would have come at that slope, and none did."""
    slope = trend.slope(since_s)
    if slope is None or slope <= 0:
        return None
    last = trend.last
    silent_seconds = min(max(2 / slope, _LEAST_SILENT_SECONDS), _SLOPE_SECONDS)
    return slope if last.value > trend.before(last.time_s - silent_seconds).value else None


def _usable_pids(namespace: HiddenLimit) -> int:
    """Ids below 300 are given out once only; a namespace that holds more than the others has some.

    Where the kernel refuses lies between the two (kernel/pid.c, alloc_pid).
    """
    usable = namespace.limit_value - RESERVED_PIDS
    return usable if namespace.usage < usable else namespace.limit_value
