"""A recording read to its end: what it tells of each node. One pass, bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from threadtrace.report import reading
from threadtrace.report.episodes import Episodes
from threadtrace.report.fields import count, number, text
from threadtrace.report.limits import (
    NODE_OWNER,
    NODES_PID_NAMESPACE,
    PID_MAX,
    PIDS_MAX,
    THREADS_MAX,
    Causes,
    Limits,
)
from threadtrace.report.notes import Notes
from threadtrace.report.reading import Event
from threadtrace.report.runs import Run
from threadtrace.report.series import Grid
from threadtrace.report.workloads import Workloads

# Keys of tracks that are of the node, not of a workload.
NODE_TASKS = ("node", "tasks")
NODE_REFUSED = ("node", "refused")
NODE_MILLISECONDS = ("node", "milliseconds")

_BINS = 600
_WINDOW_BINS = 1_200
_NS = 1_000_000_000
_FIRST_WIDTH_NS = _NS // 10
_WINDOW_WIDTH_NS = _NS // 2
_CALM_NS = 600 * _NS
_MAX_RUNS = 1_000
_MAX_NODES = 200
_MAX_CHANGES = 50
_MIN_INTERVAL_SECONDS = 0.001


@dataclass
class NodeRecord:
    """All that one node told. Times in nanoseconds since 1970."""

    name: str
    first_ns: int
    last_ns: int
    events: int = 0
    has_begun: bool = False
    """An event other than the one of the agent's start was there, which may be days older."""
    workloads: Workloads = field(default_factory=Workloads)
    limits: Limits = field(default_factory=Limits)
    causes: Causes = field(default_factory=Causes)
    episodes: Episodes = field(default_factory=Episodes)
    losses: Counter[str] = field(default_factory=Counter)
    loss_times: dict[str, int] = field(default_factory=dict)
    limit_changes: list[tuple[int, str, int, int]] = field(default_factory=list)
    """When, which limit of the node, from what, to what."""
    peak_tasks: int | None = None
    peak_tasks_ns: int = 0
    peak_refused_per_second: float = 0
    peak_refused_ns: int = 0
    refused_in_ticks: int = 0
    """Sum over all intervals; fork.refused events tell by whom and of whom."""
    counts_refusals: bool = False
    ticks: int = 0
    whole: Grid = field(default_factory=lambda: Grid(_BINS, _FIRST_WIDTH_NS))
    """The recording from end to end."""
    window: Grid = field(
        default_factory=lambda: Grid(_WINDOW_BINS, _WINDOW_WIDTH_NS, is_sliding=True)
    )
    """Finer: from ten minutes before the first trouble to ten minutes after the last."""
    trouble_ns: int | None = None
    """When there was trouble last: an explosion or a refusal."""

    def add(self, event: Event) -> None:
        """Take in one event of this node."""
        self.events += 1
        if event.name != reading.STARTED:
            self.first_ns = min(self.first_ns, event.time_ns) if self.has_begun else event.time_ns
            self.last_ns = max(self.last_ns, event.time_ns) if self.has_begun else event.time_ns
            self.has_begun = True
        if event.name == reading.RATES:
            self._rates(event)
        elif event.name == reading.NODE:
            self._tick(event)
        elif event.name == reading.REFUSED:
            self._trouble(event.time_ns)
            self.causes.add(event)
        elif event.name.startswith(reading.EXPLOSION):
            self._trouble(event.time_ns)
            self.episodes.add(event)
        elif event.name == reading.LOSS:
            where = (text(event.details, "where") or "unknown")[:40]
            self.losses[where] += count(event.details, "lost_count") or 1
            self.loss_times.setdefault(where, event.time_ns)
        elif event.name in (reading.APPEARED, reading.GONE):
            self._life(event)

    def _trouble(self, time_ns: int) -> None:
        self.trouble_ns = max(time_ns, self.trouble_ns or 0)
        self.window.is_sliding = False

    def _put(self, key: object, time_ns: int, value: int, is_sum: bool = False) -> None:
        self.whole.put(key, time_ns, value, is_sum)
        if self.trouble_ns is None or time_ns <= self.trouble_ns + _CALM_NS:
            self.window.put(key, time_ns, value, is_sum)

    def _rates(self, event: Event) -> None:
        details, moment = event.details, event.time_ns
        workload = self.workloads.of(event.fields, details, moment)
        tasks = workload.sample(moment, details)
        if tasks is not None:
            self._put(workload.key, moment, tasks)
        self.limits.see(
            PIDS_MAX,
            text(details, "tasks_limit_owner"),
            count(details, "tasks_limit"),
            count(details, "tasks_limit_usage"),
            moment,
        )
        self._forget_small_ones()

    def _life(self, event: Event) -> None:
        workload = self.workloads.of(event.fields, event.details, event.time_ns)
        if event.name == reading.APPEARED:
            workload.appeared_ns = event.time_ns
        else:
            workload.gone_ns = event.time_ns
            workload.peak_tasks = max(workload.peak_tasks, count(event.details, "tasks_peak") or 0)
            self._put(workload.key, event.time_ns, 0)
        self._forget_small_ones()

    def _forget_small_ones(self) -> None:
        for key in self.workloads.make_room():
            self.whole.drop(key)
            self.window.drop(key)

    def _tick(self, event: Event) -> None:
        details, moment = event.details, event.time_ns
        self.ticks += 1
        tasks = count(details, "tasks_count")
        if tasks is not None:
            self._put(NODE_TASKS, moment, tasks)
            if (tasks, -moment) > (self.peak_tasks or 0, -self.peak_tasks_ns):
                self.peak_tasks, self.peak_tasks_ns = tasks, moment
        pid_max = count(details, "pid_max_usable_limit")
        self._node_limit(PID_MAX, NODES_PID_NAMESPACE, pid_max, tasks, moment)
        threads_max = count(details, "threads_max_limit")
        self._node_limit(THREADS_MAX, NODE_OWNER, threads_max, tasks, moment)
        self._refusals(count(details, "refused_count"), number(details, "interval_seconds"), moment)

    def _node_limit(
        self, name: str, owner: str, value: int | None, usage: int | None, moment: int
    ) -> None:
        before = self.limits.by_key.get((name, owner))
        if before is not None and value is not None and moment > before.last_ns:
            is_change = before.value != value and len(self.limit_changes) < _MAX_CHANGES
            if is_change:
                self.limit_changes.append((moment, name, before.value, value))
        self.limits.see(name, owner, value, usage, moment)

    def _refusals(self, refused: int | None, seconds: float | None, moment: int) -> None:
        if refused is None or seconds is None or seconds < _MIN_INTERVAL_SECONDS:
            return
        self.counts_refusals = True
        self.refused_in_ticks += refused
        if refused:
            self._trouble(moment)
        self._put(NODE_REFUSED, moment, refused, is_sum=True)
        self._put(NODE_MILLISECONDS, moment, max(1, round(seconds * 1000)), is_sum=True)
        rate = refused / seconds
        if (rate, -moment) > (self.peak_refused_per_second, -self.peak_refused_ns):
            self.peak_refused_per_second, self.peak_refused_ns = rate, moment


@dataclass
class Recording:
    """All that a file told, by node and by run of the agent."""

    notes: Notes
    runs: dict[str, Run] = field(default_factory=dict)
    nodes: dict[str, NodeRecord] = field(default_factory=dict)
    unlisted_events: int = 0
    """Of runs and nodes for which there was no room."""


def collect(events: Iterable[Event], notes: Notes) -> Recording:
    """Read all events."""
    recording = Recording(notes)
    runs, nodes = recording.runs, recording.nodes
    for event in events:
        run = runs.get(event.agent_id)
        if run is None:
            if len(runs) >= _MAX_RUNS:
                recording.unlisted_events += 1
                continue
            run = runs[event.agent_id] = Run(event)
        if not run.add(event):
            notes.duplicates += 1
            continue
        # A run is of one node, whatever a damaged event says.
        node = nodes.get(run.node)
        if node is None:
            if len(nodes) >= _MAX_NODES:
                recording.unlisted_events += 1
                continue
            node = nodes[run.node] = NodeRecord(run.node, event.time_ns, event.time_ns)
        node.add(event)
    return recording
