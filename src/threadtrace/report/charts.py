"""What the plots show: which workloads, which limits, which stretch of time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from threadtrace.report.collecting import (
    NODE_MILLISECONDS,
    NODE_REFUSED,
    NODE_TASKS,
    NodeRecord,
)
from threadtrace.report.limits import PIDS_MAX
from threadtrace.report.model import (
    Culprit,
    Instant,
    Layer,
    LimitUse,
    Mark,
    RefusalPlot,
    TaskPlot,
    Verdict,
)
from threadtrace.report.series import UNKNOWN, Grid
from threadtrace.report.words import limit_words, short_name
from threadtrace.report.workloads import WorkloadRecord

# As many as can be told apart by colour by everybody, besides the others in grey.
_MAX_LAYERS = 7

# A limit beyond that many times the highest stack would press the stack flat: the limit that
# matters, and any other.
_SIGHT, _SIGHT_OF_OTHERS = 8, 2

# Growth begins where a tenth of it is left to go back.
_FOOT_OF_GROWTH = 0.1

_NS = 1_000_000_000
_MIN_MARGIN_NS = 10 * _NS
_MIN_MARGIN_BINS = 5


class Stretch(NamedTuple):
    """The time that plots show, of the grid that is fine enough for it."""

    grid: Grid
    bins: tuple[int, ...]
    """Those in which something is known."""

    @property
    def times_ns(self) -> tuple[int, ...]:
        """Where each bin begins."""
        return tuple(index * self.grid.width_ns for index in self.bins)

    def values(self, key: object, lasts: bool = False) -> tuple[int | None, ...]:
        """Of one track, at each of the bins."""
        every = self.grid.bins()
        values = self.grid.values(key, lasts)
        found = (values[index - every.start] for index in self.bins)
        return tuple(None if value == UNKNOWN else value for value in found)


def stretch_of(node: NodeRecord, incident: tuple[int, int] | None) -> Stretch:
    """The incident with what came before and after, or the whole recording.

    Args:
        node: of which.
        incident: when the growth began and when the trouble ended; None when there was none.
    """
    if incident is None:
        return Stretch(node.whole, _known_bins(node.whole))
    start, end = incident
    margin = max(_MIN_MARGIN_NS, (end - start) // 4)
    window_start = node.window.start_ns
    is_fine = window_start is not None and window_start <= max(start - margin, node.first_ns)
    grid = node.window if is_fine else node.whole
    margin = max(margin, _MIN_MARGIN_BINS * grid.width_ns)
    first, last = (start - margin) // grid.width_ns, (end + margin) // grid.width_ns
    return Stretch(grid, tuple(index for index in _known_bins(grid) if first <= index <= last))


def growth_start(node: NodeRecord, key: str, until_ns: int) -> int | None:
    """When a workload began to grow to what it held at that time; None where it did not."""
    for grid in (node.window, node.whole):
        last = until_ns // grid.width_ns
        values = [
            (index, value)
            for index, value in zip(grid.bins(), grid.values(key, lasts=True))
            if value != UNKNOWN and index <= last
        ]
        if len(values) < 2:
            continue
        lowest, held = min(value for _, value in values), values[-1][1]
        foot = lowest + _FOOT_OF_GROWTH * (held - lowest)
        before = [index for index, value in values if value <= foot]
        if held > lowest and before:
            return before[-1] * grid.width_ns
    return None


def task_plot(
    node: NodeRecord,
    stretch: Stretch,
    verdict: Verdict | None,
    culprits: Sequence[Culprit],
    instants: Sequence[Instant],
) -> TaskPlot | None:
    """None where the recording has no samples."""
    if len(stretch.bins) < 2:
        return None
    title, members, is_all = _members(node, verdict, culprits)
    names = [culprit.name for culprit in culprits]
    members.sort(key=lambda one: (one.name not in names, -one.peak_tasks))
    layers = [
        Layer(one.name, stretch.values(one.key, lasts=True), one.name in names)
        for one in members[:_MAX_LAYERS]
    ]
    layers += _others(stretch, members[_MAX_LAYERS:], layers, is_all)
    layers = [layer for layer in layers if any(layer.tasks)]
    if not layers:
        return None
    near, far = _limits(verdict, is_all, _highest_stack(layers))
    return TaskPlot(title, stretch.times_ns, tuple(layers), near, far, tuple(instants))


def refusal_plot(stretch: Stretch) -> RefusalPlot | None:
    """None where refusals were not counted, or there was none."""
    refused = stretch.values(NODE_REFUSED)
    if not any(refused):
        return None
    rates = tuple(
        None if count is None or not milliseconds else round(count * 1000 / milliseconds, 3)
        for count, milliseconds in zip(refused, stretch.values(NODE_MILLISECONDS))
    )
    return RefusalPlot(stretch.times_ns, rates)


def _known_bins(grid: Grid) -> tuple[int, ...]:
    """Of a tick each; without ticks, all."""
    known = tuple(
        index for index, value in zip(grid.bins(), grid.values(NODE_TASKS)) if value != UNKNOWN
    )
    return known or tuple(grid.bins())


def _members(
    node: NodeRecord, verdict: Verdict | None, culprits: Sequence[Culprit]
) -> tuple[str, list[WorkloadRecord], bool]:
    """The title, the workloads that count against the limit, and whether that is all of them."""
    every = list(node.workloads.by_key.values())
    lead = verdict.limit if verdict is not None else None
    if lead is None or lead.is_of_node or lead.limit_owner is None or not culprits:
        return "Tasks on the node, by workload", every, True
    if lead.limit != PIDS_MAX:
        names = {culprit.name for culprit in culprits}
        title = f"Tasks of those who hold most of {short_name(lead.limit_owner)}"
        return title, [one for one in every if one.name in names], False
    owner = lead.limit_owner.rstrip("/")
    below = [
        one
        for one in every
        if one.cgroup is not None and (one.cgroup == owner or one.cgroup.startswith(f"{owner}/"))
    ]
    return f"Tasks below {short_name(lead.limit_owner)}, by workload", below, False


def _others(
    stretch: Stretch, rest: Sequence[WorkloadRecord], shown: Sequence[Layer], is_all: bool
) -> list[Layer]:
    """All that has no layer of its own, as one."""
    if is_all:
        totals = stretch.values(NODE_TASKS)
        tasks = tuple(
            None if total is None else max(0, total - sum(filter(None, here)))
            for total, *here in zip(totals, *(layer.tasks for layer in shown))
        )
        return [Layer("all others", tasks, is_rest=True)]
    if not rest:
        return []
    columns = [stretch.values(one.key, lasts=True) for one in rest]
    sums = tuple(sum(filter(None, here)) for here in zip(*columns))
    return [Layer(f"{len(rest)} others", sums, is_rest=True)]


def _limits(
    verdict: Verdict | None, is_all: bool, highest: int
) -> tuple[tuple[Mark, ...], tuple[Mark, ...]]:
    """Limits that stand in the plot, and those that are too far above it."""
    uses: list[LimitUse] = []
    if verdict is not None:
        uses = [verdict.limit, *verdict.others, *verdict.not_reached]
    lead = verdict.limit if verdict is not None else None
    near: list[Mark] = []
    far: list[Mark] = []
    for use in uses:
        if use.limit_value is None or not (use.is_of_node or use is lead):
            continue
        mark = Mark(limit_words(use.limit, use.limit_owner, use.limit_value), use.limit_value)
        in_scope = use is lead if not is_all else use.is_of_node
        sight = _SIGHT if use is lead else _SIGHT_OF_OTHERS
        is_near = in_scope and use.limit_value <= highest * sight
        (near if is_near else far).append(mark)
    return tuple(near), tuple(far)


def _highest_stack(layers: Sequence[Layer]) -> int:
    columns = zip(*(layer.tasks for layer in layers))
    return max(sum(tasks or 0 for tasks in here) for here in columns)
