"""How many tasks are present in each cgroup, and whether they become more."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from threadtrace.clock import Clock
from threadtrace.model.accounts import Account, Accounts, ActiveCgroups, growth_weight
from threadtrace.node.cgroups import CROWDED_CGROUPS, Cgroup, CgroupTree
from threadtrace.node.limits import NodeLimits
from threadtrace.node.processes import ProcessTable
from threadtrace.probe.records import KERNEL_CGROUP_ID
from threadtrace.probe.source import Counters
from threadtrace.roster import Roster

# Refusals come in storms: how often all counters are read for them.
_LOOK_AGAIN_NS = 100_000_000


class Presence:
    """Reads the pids controller's counters where something happened."""

    def __init__(
        self,
        accounts: Accounts,
        tree: CgroupTree,
        processes: ProcessTable,
        roster: Roster,
        clock: Clock,
        kernel: Cgroup,
        read_node_tasks: Callable[[], int | None],
    ) -> None:
        """Start with nothing read.

        Args:
            accounts: of the workloads, which are told of every change.
            tree: cgroups with their counters.
            processes: where the kernel's threads are counted.
            roster: which cgroups are gone, and which nobody told of.
            clock: for how often refusals make all counters be read.
            kernel: stands for the kernel's own threads, which have no cgroup of theirs.
            read_node_tasks: how many the whole node has now, None where that cannot be read.
        """
        self._accounts = accounts
        self._tree = tree
        self._processes = processes
        self._roster = roster
        self._clock = clock
        self._kernel = kernel
        self._read_node_tasks = read_node_tasks
        self._kernel_base = 0
        self._swept = 0
        self._looked_ns = 0
        self._last_moves: int | None = None
        self._last_lost_records = 0
        self._is_baseline = True
        self._watched_seconds = 0.0
        self._last_due: list[int] = []
        self._growing: set[Account] = set()
        self._changed: set[Account] = set()

    def follow(self, counters: Counters, active: ActiveCgroups, limits: NodeLimits) -> None:
        """Read what may have changed since the last tick."""
        is_crowded = len(active.active) > CROWDED_CGROUPS
        due = self._tree.find_all(active.unbalanced if is_crowded else active.active)
        if not is_crowded:
            # Once more what was active before: who has exited is counted as long as nobody waits
            # for it.
            again = self._tree.find_all(self._last_due)
            self._last_due = [cgroup.id for cgroup in due]
            due |= again
        above_removed = {
            cgroup.parent for cgroup in self._roster.removed if cgroup.parent is not None
        }
        everything = self._moved(counters) | self._missed_records(counters)
        changes = self._tree.refresh(due | above_removed, everything)
        for cgroup in self._tree.take_vanished():
            self._roster.removed.setdefault(cgroup, self._clock.monotonic_ns())
        for cgroup in self._roster.removed:
            # Not read: another one of the same path may stand in its place.
            self._tree.set_tasks(cgroup, 0, changes)
        self._tree.set_tasks(self._kernel, self._kernel_tasks(counters), changes)
        if limits.tasks_count is not None:
            self._tree.set_tasks(self._tree.root, limits.tasks_count, changes)
        self._note_tasks(changes)

    def follow_growth(self, interval_seconds: float) -> None:
        """Once a tick, after follow."""
        if not self._is_baseline:
            self._watched_seconds += interval_seconds
        weight = growth_weight(interval_seconds, self._watched_seconds)
        self._growing = {
            account
            for account in self._growing | self._changed
            if account.follow_growth(interval_seconds, weight)
        }
        self._changed = set()
        self._is_baseline = False

    @property
    def changed(self) -> set[Account]:
        """Workloads whose number of tasks has changed since the last follow_growth."""
        return self._changed

    def look_at(self, accounts: Iterable[Account]) -> None:
        """Read the counters of these workloads, and of what is around them, now."""
        cgroup_ids = [cgroup_id for account in accounts for cgroup_id in account.cgroup_ids]
        changes = self._tree.read(self._tree.find_all(cgroup_ids))
        self._read_node(changes)
        self._note_tasks(changes)

    def look_again(self, at_once: bool) -> None:
        """Read who holds how much now: the last tick may be older than the explosion.

        Args:
            at_once: even if the last look was just before.
        """
        now_ns = self._clock.monotonic_ns()
        is_due = at_once or now_ns - self._looked_ns >= _LOOK_AGAIN_NS
        if is_due and len(self._tree) <= CROWDED_CGROUPS:
            self._looked_ns = now_ns
            changes = self._tree.refresh(set(), everything=True)
            self._read_node(changes)
            self._note_tasks(changes)

    def _read_node(self, changes: dict[Cgroup, int]) -> None:
        node_tasks = self._read_node_tasks()
        if node_tasks is not None:
            self._tree.set_tasks(self._tree.root, node_tasks, changes)

    def _note_tasks(self, changes: dict[Cgroup, int]) -> None:
        for cgroup, change in changes.items():
            account = self._accounts.add_tasks(cgroup.id, change)
            if account is not None:
                self._changed.add(account)

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
            self._roster.file(cgroup)
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
