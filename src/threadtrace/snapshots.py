"""What a tick tells of each workload: made anew only where something changed."""

from __future__ import annotations

from functools import partial

from threadtrace.attribution import ProcessAttribution
from threadtrace.model.accounts import Account, Accounts
from threadtrace.model.snapshot import WorkloadSnapshot
from threadtrace.node.cgroups import Cgroup, CgroupTree

_AS_WORKLOAD = partial(tuple.__new__, WorkloadSnapshot)


class WorkloadSnapshots:
    """Keeps the last snapshot of each workload with its account."""

    def __init__(
        self, accounts: Accounts, tree: CgroupTree, attribution: ProcessAttribution
    ) -> None:
        self._accounts = accounts
        self._tree = tree
        self._attribution = attribution
        self._last_limit_changes = 0

    def take(self, interval_seconds: float) -> tuple[WorkloadSnapshot, ...]:
        """Of all workloads that have tasks or were active, once a tick."""
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
                account.state,
                account.forecast,
            )
        )


def _has_changed(
    before: WorkloadSnapshot | None, tasks: int, owner: Cgroup | None, has_processes: bool
) -> bool:
    """Whether tasks or processes came or went without a birth here, or the limit is another."""
    if before is None:
        return False
    limit = owner.limit if owner else None
    return (before.tasks, before.limit, bool(before.top_processes)) != (tasks, limit, has_processes)


def _limit_owner(cgroup: Cgroup | None) -> Cgroup | None:
    while cgroup is not None and cgroup.limit is None:
        cgroup = cgroup.parent
    return cgroup


def _limit_usage_changed(owner: Cgroup | None, snapshot: WorkloadSnapshot) -> bool:
    """Whether another workload below the same limit came closer to it, or went."""
    return owner is not None and owner.tasks != snapshot.limit_tasks
