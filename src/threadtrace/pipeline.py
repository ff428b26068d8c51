"""The tick: counters in, joined with names and limits, one immutable snapshot out.

The only place that knows all rooms. Nothing here creates a process or a thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from threadtrace.attribution import ProcessAttribution
from threadtrace.clock import NANOSECONDS, Clock
from threadtrace.describing import Describer
from threadtrace.detect.thresholds import Thresholds
from threadtrace.diagnosing import nearest_limit, order
from threadtrace.explosions import Explosions, ThresholdsOf
from threadtrace.forecasting import Forecasts
from threadtrace.holders import Holders
from threadtrace.identity.workloads import KERNEL, Directory, Workload
from threadtrace.inspecting import Inspector
from threadtrace.model.accounts import Accounts
from threadtrace.model.details import ProcessInspection, WorkloadDetails
from threadtrace.model.diagnosis import Diagnosis, state_of
from threadtrace.model.node import node_snapshot
from threadtrace.model.refusal import Refusal
from threadtrace.model.snapshot import (
    Happenings,
    Loss,
    NodeSnapshot,
    Snapshot,
    StartedWorkload,
    Totals,
)
from threadtrace.node.cgroups import Cgroup, CgroupTree
from threadtrace.node.limits import NodeLimits, read_node_limits
from threadtrace.node.processes import ProcessTable
from threadtrace.node.users import users_with_limits
from threadtrace.presence import Presence
from threadtrace.probe.loader import DEFAULT_MAX_PROCESSES
from threadtrace.probe.records import (
    KERNEL_CGROUP_ID,
    BurstRecord,
    NodeLimit,
    Record,
    RefusalKey,
    RefusalRecord,
)
from threadtrace.probe.source import Counters, CounterSource
from threadtrace.roster import Roster
from threadtrace.snapshots import WorkloadSnapshots
from threadtrace.verdict import Refusals

# For the limits of users: 50 ms. The others are too small to bring their user near one.
_LOOKED_AT_PROCESSES = 2_048

# While as many records are handled as take 50 ms, not many more come than the ring has room for;
# and after those of a second the rest of the agent has its turn.
_RECORDS_BETWEEN_LOOKS = 512
_RECORDS_AT_ONCE = 20 * _RECORDS_BETWEEN_LOOKS

_USUAL_THRESHOLDS = Thresholds()


def _usual_thresholds(_: Workload) -> Thresholds:
    return _USUAL_THRESHOLDS


class Pipeline:
    """Everything the agent knows, and how a tick renews it."""

    def __init__(
        self,
        source: CounterSource,
        tree: CgroupTree,
        processes: ProcessTable,
        directory: Directory,
        clock: Clock,
        read_limits: Callable[[], NodeLimits] = read_node_limits,
        max_processes: int = DEFAULT_MAX_PROCESSES,
        thresholds_of: ThresholdsOf = _usual_thresholds,
        counting_since_ns: int | None = None,
    ) -> None:
        """Take the baseline: what is there now counts as present from the first tick on.

        ``counting_since_ns`` is when the source began to count, monotonic: so the first interval
        is as long as what was counted in it. None: now.

        Raises:
            OSError: the maps cannot be read.
        """
        self._source = source
        self._tree = tree
        self._processes = processes
        self._directory = directory
        self._clock = clock
        self._read_limits = read_limits
        self._accounts = Accounts()
        self._attribution = ProcessAttribution(source, processes, self._accounts, max_processes)
        self._snapshots = WorkloadSnapshots(self._accounts, tree, self._attribution)
        self._holders = Holders(self._accounts, tree, processes)
        self._refusals = Refusals(self._accounts, tree, self._holders, clock)
        self._late = _nothing()
        self._told_limits: dict[NodeLimit, int] = {}
        self._tell_limits(read_limits())  # the programs are attached already
        self._last_ns = clock.monotonic_ns() if counting_since_ns is None else counting_since_ns
        kernel = Cgroup(KERNEL_CGROUP_ID, "", tree.root)
        self._accounts.assign(KERNEL_CGROUP_ID, KERNEL).top = kernel
        tree.scan()
        self._roster = Roster(self._accounts, tree, directory, clock, self._forget_cgroup)
        self._presence = Presence(
            self._accounts, tree, processes, self._roster, clock, kernel, self._node_tasks
        )
        self._forecasts = Forecasts(tree, source, clock)
        self._explosions = Explosions(
            self._accounts,
            tree,
            self._presence,
            self._forecasts,
            Describer(self._attribution, self._refusals, clock),
            source,
            clock,
            thresholds_of,
        )
        self._interval_seconds: float | None = None
        self._inspector = Inspector(
            self._accounts,
            processes,
            self._holders,
            self._attribution,
            self._forecasts,
            self._presence,
        )

    @property
    def look_due_ns(self) -> int | None:
        """When ``handle_records`` has something to look at, monotonic; None when nothing."""
        return self._explosions.look_due_ns

    def handle_records(self) -> Happenings:
        """Take in what the kernel told of at once: cgroups, refused clones, many births.

        Looks at workloads of which many births were told, where that is due.
        """
        happened, self._late = self._late, _nothing()
        for record in self._records():
            if isinstance(record, BurstRecord):
                self._explosions.note_burst(record)
                continue
            if isinstance(record, RefusalRecord):
                self._explosions.note_refusal(record)
                refusal = self._explain(record)
                if refusal is not None:
                    happened.refusals.append(refusal)
                continue
            workload = self._roster.handle(record)
            if workload is not None:
                when = self._clock.realtime_of(record.timestamp_ns)
                happened.started.append(StartedWorkload(workload, when))
        look_due_ns = self._explosions.look_due_ns
        if look_due_ns is not None and look_due_ns <= self._clock.monotonic_ns():
            happened.explosions.extend(self._explosions.look())
        return happened

    def _records(self) -> Iterator[Record]:
        """Those that wait, and what comes meanwhile, up to a number.

        Cgroups can be made faster than they are filed: the ring is emptied now and then, before it
        is full.
        """
        waiting = deque(self._source.read_records())
        for handled in range(1, _RECORDS_AT_ONCE):
            if not waiting:
                return
            yield waiting.popleft()
            if handled % _RECORDS_BETWEEN_LOOKS == 0:
                waiting += self._source.read_records()
        yield from waiting

    def tick(self, is_last: bool = False) -> Snapshot:
        """Read everything once and tell what happened since the last tick.

        Args:
            is_last: what is usually told by a later tick is told by this one.

        Raises:
            OSError: the maps cannot be read.
        """
        now_ns = self._clock.monotonic_ns()
        interval_seconds = (now_ns - self._last_ns) / NANOSECONDS
        self._last_ns, self._interval_seconds = now_ns, interval_seconds
        # What goes after the counters are read keeps its entries until the next tick: births and
        # exits in between are still to be read.
        leaving = self._roster.leaving()
        counters = self._source.read_counters()
        if self._accounts.unassigned(counters):
            self._late = self.handle_records()  # they may have come just before
        for cgroup_id in self._accounts.unassigned(counters):
            self._roster.introduce(cgroup_id)
        active = self._accounts.count(counters)
        limits = self._read_limits()
        self._tell_limits(limits)
        self._attribution.follow(counters)
        self._presence.follow(counters, active, limits)
        seconds_left = self._forecasts.follow_node(limits, now_ns / NANOSECONDS)
        explosions = self._explosions.follow(interval_seconds, is_last)
        self._presence.follow_growth(interval_seconds)
        for workload in self._directory.retry_names(self._clock.seconds()):
            self._accounts.rename(workload.key, workload)
        losses = self._accounts.count_losses(counters.lost)
        unfollowed = self._explosions.take_unfollowed()
        if unfollowed:
            losses["explosions"] = unfollowed
        snapshot = Snapshot(
            time_ns=self._clock.realtime_ns(),
            node=self._node(counters, limits, interval_seconds, seconds_left),
            workloads=self._snapshots.take(interval_seconds),
            refusals=tuple(self._refusals.held_back(counters.refusals, now_ns, is_last)),
            ended=self._roster.close(leaving),
            losses=tuple(Loss(where, count) for where, count in losses.items()),
            explosions=tuple(explosions),
        )
        self._accounts.end_baseline()
        return snapshot

    def look_everywhere(self) -> None:
        """Find cgroups that came and read all counters: where no program tells of either."""
        for cgroup in self._tree.scan():
            self._roster.file(cgroup)
        self._presence.look_again(at_once=True)

    def diagnose(self) -> Diagnosis:
        """Whether this node can fork, and who is in the way, now.

        Raises:
            OSError: the maps cannot be read.
        """
        self._presence.look_again(at_once=True)
        node = node_snapshot(self._read_limits(), Totals(), 0.0)
        refusals = self._source.read_counters().refusals
        causes = order(self._refusals.causes(refusals, self._clock.monotonic_ns()))
        users = users_with_limits(self._processes.largest_pids(_LOOKED_AT_PROCESSES))
        nearest = nearest_limit(node, self._tree, self._holders, users)
        explosions = tuple(self._explosions.under_way())
        state = state_of(causes, nearest, explosions)
        now_ns = self._clock.realtime_ns()
        return Diagnosis(now_ns, state, node, causes, nearest, explosions)

    def inspect_workload(self, key: str) -> WorkloadDetails | None:
        """A workload's processes and limits, now; None where it is gone."""
        return self._inspector.workload(key, self._interval_seconds)

    def inspect_process(self, pid: int) -> ProcessInspection | None:
        """A process, its threads' names and its limits, now; None where it is gone."""
        return self._inspector.process(pid, self._interval_seconds)

    def _explain(self, record: RefusalRecord) -> Refusal | None:
        if not self._refusals.has_room:
            return None  # told by a later tick, and not worth a look now
        cgroup_id = record.key.cgroup_id
        if self._accounts.account_of_cgroup(cgroup_id) is None:
            self._roster.introduce(cgroup_id)
        account = self._accounts.account_of_cgroup(cgroup_id)
        # Who was refused is there: with no task known of it, what is known is too old.
        self._presence.look_again(at_once=account is None or account.tasks <= 0)
        self._processes.refresh(self._processes.note(record.tgid, cgroup_id, ""))
        return self._refusals.explain(record)

    def _node_tasks(self) -> int | None:
        return self._read_limits().tasks_count

    def _forget_cgroup(self, cgroup_id: int, refusal_keys: list[RefusalKey]) -> None:
        self._source.forget_cgroup(cgroup_id, refusal_keys)
        self._refusals.close(refusal_keys)

    def _tell_limits(self, limits: NodeLimits) -> None:
        for which, value in (
            (NodeLimit.THREADS_MAX, limits.threads_max),
            (NodeLimit.PID_MAX, limits.pid_max),
        ):
            if value is not None and self._told_limits.get(which) != value:
                self._source.tell_limit(which, value)
                self._told_limits[which] = value

    def _node(
        self,
        counters: Counters,
        limits: NodeLimits,
        interval_seconds: float,
        seconds_left: float | None,
    ) -> NodeSnapshot:
        parts = (self._accounts.counted(), self._accounts.count_unattributed(counters))
        counts = Totals(*map(sum, zip(*parts)))
        return node_snapshot(limits, counts, interval_seconds, seconds_left)


def _nothing() -> Happenings:
    return Happenings([], [], [])
