"""The tick: counters in, joined with names and limits, one immutable snapshot out.

The only place that knows all rooms. Nothing here creates a process or a thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from threadtrace.attribution import ProcessAttribution
from threadtrace.diagnosing import nearest_limit, order
from threadtrace.holders import Holders
from threadtrace.identity.workloads import KERNEL, Directory, Workload, identify, unknown
from threadtrace.model.accounts import Account, Accounts, ActiveCgroups, growth_weight
from threadtrace.model.diagnosis import Diagnosis, state_of
from threadtrace.model.node import node_snapshot
from threadtrace.model.refusal import Refusal
from threadtrace.model.snapshot import (
    EndedWorkload,
    Happenings,
    Loss,
    NodeSnapshot,
    Snapshot,
    StartedWorkload,
    Totals,
    WorkloadSnapshot,
)
from threadtrace.node.cgroups import CROWDED_CGROUPS, Cgroup, CgroupGone, CgroupTree
from threadtrace.node.limits import NodeLimits, read_node_limits
from threadtrace.node.processes import ProcessTable
from threadtrace.probe.loader import DEFAULT_MAX_PROCESSES
from threadtrace.probe.records import (
    KERNEL_CGROUP_ID,
    CgroupChange,
    CgroupRecord,
    NodeLimit,
    RefusalRecord,
)
from threadtrace.probe.source import Counters, CounterSource
from threadtrace.verdict import Refusals

_NS = 1_000_000_000

# Refusals come in storms: how often all counters are read for them.
_LOOK_AGAIN_NS = 100_000_000

_AS_WORKLOAD = partial(tuple.__new__, WorkloadSnapshot)


@dataclass(frozen=True, slots=True)
class Clock:
    """Both clocks, so that tests can set them."""

    monotonic_ns: Callable[[], int] = time.monotonic_ns
    realtime_ns: Callable[[], int] = time.time_ns

    def realtime_of(self, monotonic_ns: int) -> int:
        """The kernel's timestamp as time since the epoch."""
        return self.realtime_ns() - (self.monotonic_ns() - monotonic_ns)


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
    ) -> None:
        """Take the baseline: what is there now counts as present from the first tick on.

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
        self._holders = Holders(self._accounts, tree, processes)
        self._refusals = Refusals(self._accounts, tree, self._holders, clock.realtime_of)
        self._kernel = Cgroup(KERNEL_CGROUP_ID, "", tree.root)
        self._kernel_base = 0
        self._swept = 0
        self._removed: dict[Cgroup, int] = {}
        self._vanished: list[int] = []
        self._late = Happenings([], [])
        self._looked_ns = 0
        self._last_moves: int | None = None
        self._last_lost_records = 0
        self._last_limit_changes = 0
        self._told_limits: dict[NodeLimit, int] = {}
        self._is_baseline = True
        self._watched_seconds = 0.0
        self._growing: set[Account] = set()
        self._changed: set[Account] = set()
        self._last_ns = clock.monotonic_ns()
        self._accounts.assign(KERNEL_CGROUP_ID, KERNEL).top = self._kernel
        tree.scan()
        for cgroup in tree:
            self._file(cgroup)

    def handle_records(self) -> Happenings:
        """Take in what the kernel told of: cgroups that came and went, refused clones."""
        happened, self._late = self._late, Happenings([], [])
        for record in self._source.read_records():
            if isinstance(record, RefusalRecord):
                refusal = self._explain(record)
                if refusal is not None:
                    happened.refusals.append(refusal)
                continue
            workload = self._handle(record)
            if workload is not None:
                when = self._clock.realtime_of(record.timestamp_ns)
                happened.started.append(StartedWorkload(workload, when))
        return happened

    def tick(self) -> Snapshot:
        """Read everything once and tell what happened since the last tick.

        Raises:
            OSError: the maps cannot be read.
        """
        now_ns = self._clock.monotonic_ns()
        interval_seconds = (now_ns - self._last_ns) / _NS
        self._last_ns = now_ns
        # What goes after the counters are read keeps its entries until the next tick: births and
        # exits in between are still to be read.
        removed, vanished = dict(self._removed), list(self._vanished)
        counters = self._source.read_counters()
        if self._accounts.unassigned(counters):
            self._late = self.handle_records()  # they may have come just before
        for cgroup_id in self._accounts.unassigned(counters):
            self._introduce(cgroup_id)
        active = self._accounts.count(counters)
        limits = self._read_limits()
        self._tell_limits(limits)
        self._attribution.follow(counters)
        self._follow_tasks(counters, active, limits)
        self._follow_growth(interval_seconds)
        for workload in self._directory.retry_names(now_ns / _NS):
            self._accounts.rename(workload.key, workload)
        losses = self._accounts.count_losses(counters.lost)
        snapshot = Snapshot(
            time_ns=self._clock.realtime_ns(),
            node=self._node(counters, limits, interval_seconds),
            workloads=self._workloads(interval_seconds),
            refusals=tuple(self._refusals.held_back(counters.refusals, now_ns)),
            ended=self._close_removed(removed, vanished),
            losses=tuple(Loss(where, count) for where, count in losses.items()),
        )
        self._accounts.end_baseline()
        self._is_baseline = False
        return snapshot

    def diagnose(self) -> Diagnosis:
        """Whether this node can fork, and who is in the way, now.

        Raises:
            OSError: the maps cannot be read.
        """
        self._look_again()
        node = node_snapshot(self._read_limits(), Totals(), 0.0)
        refusals = self._source.read_counters().refusals
        causes = order(self._refusals.causes(refusals, self._clock.monotonic_ns()))
        nearest = nearest_limit(node, self._tree, self._holders)
        state = state_of(causes, nearest)
        return Diagnosis(self._clock.realtime_ns(), state, node, causes, nearest)

    # Refused clones

    def _explain(self, record: RefusalRecord) -> Refusal | None:
        cgroup_id = record.key.cgroup_id
        if self._accounts.account_of_cgroup(cgroup_id) is None:
            self._introduce(cgroup_id)
        self._look_again()
        self._processes.refresh(self._processes.note(record.tgid, cgroup_id, ""))
        return self._refusals.explain(record)

    def _look_again(self) -> None:
        """Read who holds how much now: the last tick may be older than the explosion."""
        now_ns = self._clock.monotonic_ns()
        if len(self._tree) <= CROWDED_CGROUPS and now_ns - self._looked_ns >= _LOOK_AGAIN_NS:
            self._looked_ns = now_ns
            self._note_tasks(self._tree.refresh(set(), everything=True))

    # Cgroups and workloads

    def _handle(self, record: CgroupRecord) -> Workload | None:
        if record.change is CgroupChange.RENAMED:
            self._rename(self._tree.rename(record.cgroup_id, record.path))
            return None
        if record.change is CgroupChange.REMOVED:
            cgroup = self._tree.find(record.cgroup_id)
            if cgroup is not None:
                self._removed[cgroup] = record.timestamp_ns
            return None
        # The tree may know it already, from a process found in it.
        is_assigned = self._accounts.account_of_cgroup(record.cgroup_id) is not None
        if is_assigned or not record.path:
            return None
        return self._file(self._tree.add(record.cgroup_id, record.path))

    def _rename(self, cgroups: list[Cgroup]) -> None:
        for cgroup in cgroups:
            account = self._accounts.account_of_cgroup(cgroup.id)
            if account is not None and account.top is cgroup:
                old = account.workload
                renamed = self._directory.rename(old, cgroup.path, self._seconds())
                self._accounts.rename(old.key, renamed)

    def _introduce(self, cgroup_id: int) -> None:
        """A cgroup that nobody told of: its record was lost, or it is older than the hooks."""
        try:
            cgroup = self._tree.find(cgroup_id) or self._tree.locate(cgroup_id)
        except CgroupGone:
            self._vanished.append(cgroup_id)
            cgroup = None
        if cgroup is not None:
            self._file(cgroup)
            return
        workload = self._directory.add(unknown(cgroup_id), self._seconds())
        self._accounts.assign(cgroup_id, workload)

    def _file(self, cgroup: Cgroup) -> Workload | None:
        """Assign a cgroup to its workload; the workload if it is new."""
        parent = cgroup.parent
        if parent is not None and self._accounts.account_of_cgroup(parent.id) is None:
            self._file(parent)
        workload = self._directory.add(identify(cgroup.path), self._seconds())
        account = self._accounts.assign(cgroup.id, workload)
        self._accounts.add_tasks(cgroup.id, cgroup.tasks)
        is_new = account.top is None
        if account.top is None or len(cgroup.path) < len(account.top.path):
            account.top, account.has_limit_owner = cgroup, False
        return workload if is_new else None

    def _close_removed(
        self, removed: dict[Cgroup, int], vanished: list[int]
    ) -> tuple[EndedWorkload, ...]:
        ended = []
        for cgroup, removed_ns in removed.items():
            ended.append(self._close(cgroup.id, self._clock.realtime_of(removed_ns)))
            self._tree.remove(cgroup)
            del self._removed[cgroup]
        for cgroup_id in vanished:
            ended.append(self._close(cgroup_id, self._clock.realtime_ns()))
        del self._vanished[: len(vanished)]
        return tuple(entry for entry in ended if entry is not None)

    def _close(self, cgroup_id: int, time_ns: int) -> EndedWorkload | None:
        refusal_keys = self._accounts.refusal_keys(cgroup_id)
        self._source.forget_cgroup(cgroup_id, refusal_keys)
        self._refusals.forget(refusal_keys)
        account = self._accounts.close_cgroup(cgroup_id)
        if account is None:
            return None
        if account.cgroup_ids:
            if account.top is not None and account.top.id == cgroup_id:
                found = [self._tree.find(one) for one in account.cgroup_ids]
                account.top = min(
                    (c for c in found if c is not None), key=_depth, default=account.top
                )
                account.has_limit_owner = False
            return None
        self._directory.remove(account.workload.key)
        return EndedWorkload(account.workload, time_ns, account.closed, account.tasks_peak)

    # Tasks that are present

    def _follow_tasks(self, counters: Counters, active: ActiveCgroups, limits: NodeLimits) -> None:
        is_crowded = len(active.active) > CROWDED_CGROUPS
        due = self._tree.find_all(active.unbalanced if is_crowded else active.active)
        above_removed = {cgroup.parent for cgroup in self._removed if cgroup.parent is not None}
        everything = self._moved(counters) | self._missed_records(counters)
        changes = self._tree.refresh(due | above_removed, everything)
        for cgroup in self._tree.take_vanished():
            self._removed.setdefault(cgroup, self._clock.monotonic_ns())
        for cgroup in self._removed:
            # Not read: another one of the same path may stand in its place.
            self._tree.set_tasks(cgroup, 0, changes)
        self._tree.set_tasks(self._kernel, self._kernel_tasks(counters), changes)
        if limits.tasks_count is not None:
            self._tree.set_tasks(self._tree.root, limits.tasks_count, changes)
        self._note_tasks(changes)

    def _note_tasks(self, changes: dict[Cgroup, int]) -> None:
        for cgroup, change in changes.items():
            account = self._accounts.add_tasks(cgroup.id, change)
            if account is not None:
                self._changed.add(account)

    def _follow_growth(self, interval_seconds: float) -> None:
        if not self._is_baseline:
            self._watched_seconds += interval_seconds
        weight = growth_weight(interval_seconds, self._watched_seconds)
        self._growing = {
            account
            for account in self._growing | self._changed
            if account.follow_growth(interval_seconds, weight)
        }
        self._changed = set()

    def _moved(self, counters: Counters) -> bool:
        """Whether every counter is to be read: at first, and after any task moved.

        Where that would take too long, since exec probes move a task every second, the two cgroups
        of a move are read when something happens in them, or in their turn.
        """
        is_first = self._last_moves is None
        moved = counters.moves != self._last_moves
        self._last_moves = counters.moves
        return is_first or (moved and len(self._tree) <= CROWDED_CGROUPS)

    def _missed_records(self, counters: Counters) -> bool:
        """Whether cgroups came or went without notice; those that came are looked for here."""
        lost = counters.lost.get("records_ring", 0)
        if lost == self._last_lost_records:
            return False
        self._last_lost_records = lost
        for cgroup in self._tree.scan():
            self._file(cgroup)
        return True

    def _kernel_tasks(self, counters: Counters) -> int:
        """Counted in the last pass through /proc, and carried on from there."""
        counts = counters.cgroups.get(KERNEL_CGROUP_ID)
        alive = 0
        if counts is not None:
            alive = counts.threads_created + counts.processes_created
            alive -= counts.threads_exited + counts.processes_exited
        if self._swept != self._processes.completed_sweeps:
            self._swept = self._processes.completed_sweeps
            self._kernel_base = self._processes.tasks(KERNEL_CGROUP_ID) - alive
        return max(0, self._kernel_base + alive)

    def _tell_limits(self, limits: NodeLimits) -> None:
        for which, value in (
            (NodeLimit.THREADS_MAX, limits.threads_max),
            (NodeLimit.PID_MAX, limits.pid_max),
        ):
            if value is not None and self._told_limits.get(which) != value:
                self._source.tell_limit(which, value)
                self._told_limits[which] = value

    # Snapshots

    def _node(
        self, counters: Counters, limits: NodeLimits, interval_seconds: float
    ) -> NodeSnapshot:
        parts = (self._accounts.counted(), self._accounts.count_unattributed(counters))
        return node_snapshot(limits, Totals(*map(sum, zip(*parts))), interval_seconds)

    def _workloads(self, interval_seconds: float) -> tuple[WorkloadSnapshot, ...]:
        shown = []
        all_stale = self._last_limit_changes != self._tree.limit_changes
        self._last_limit_changes = self._tree.limit_changes
        if all_stale:
            for account in self._accounts:
                account.has_limit_owner = False
        for account in self._accounts:
            snapshot = account.snapshot
            if (
                snapshot is None
                or account.is_stale
                or all_stale
                or _limit_usage_changed(account.limit_owner, snapshot)
            ):
                snapshot = account.snapshot = self._workload(account, interval_seconds)
                # A change without counts is news once: the next snapshot is idle again.
                account.is_stale = snapshot.is_active and not account.is_active
            if snapshot.tasks or snapshot.is_active:
                shown.append(snapshot)
        return tuple(shown)

    def _workload(self, account: Account, interval_seconds: float) -> WorkloadSnapshot:
        tasks = account.tasks if account.tasks > 0 else 0
        if tasks > account.tasks_peak:
            account.tasks_peak = tasks
        if not account.has_limit_owner:
            account.limit_owner, account.has_limit_owner = _limit_owner(account.top), True
        owner = account.limit_owner
        top = self._attribution.top(account)
        # Past the named tuple's own constructor, which takes longer than all else here: thousands
        # of these are made in a tick.
        return _AS_WORKLOAD(
            (
                account.workload,
                interval_seconds,
                account.interval,
                account.interval_refused,
                tasks,
                account.tasks_peak,
                owner.limit if owner else None,
                owner.path if owner else None,
                owner.tasks if owner else None,
                account.growth_per_second,
                top,
                account.is_active or _has_changed(account.snapshot, tasks, owner, bool(top)),
            )
        )

    def _seconds(self) -> float:
        return self._clock.monotonic_ns() / _NS


def _has_changed(
    before: WorkloadSnapshot | None, tasks: int, owner: Cgroup | None, has_processes: bool
) -> bool:
    """Whether tasks or processes came or went without a birth here, or the limit is another."""
    if before is None:
        return False
    limit = owner.limit if owner else None
    return (before.tasks, before.limit, bool(before.top_processes)) != (tasks, limit, has_processes)


def _depth(cgroup: Cgroup) -> int:
    return cgroup.path.count("/")


def _limit_owner(cgroup: Cgroup | None) -> Cgroup | None:
    while cgroup is not None and cgroup.limit is None:
        cgroup = cgroup.parent
    return cgroup


def _limit_usage_changed(owner: Cgroup | None, snapshot: WorkloadSnapshot) -> bool:
    """Whether another workload below the same limit came closer to it, or went."""
    return owner is not None and owner.tasks != snapshot.limit_tasks
