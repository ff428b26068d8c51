"""Cumulative counts by cgroup become counts of an interval by workload. Pure.

What grows: one ``Account`` a workload and one entry a cgroup, until they are closed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from operator import add
from typing import NamedTuple

from threadtrace.identity.workloads import Workload
from threadtrace.model.explosion import Forecast, State
from threadtrace.model.snapshot import Totals, WorkloadSnapshot
from threadtrace.node.cgroups import Cgroup
from threadtrace.probe.records import (
    Counts,
    ProcessCounts,
    ProcessKey,
    RefusalCounts,
    RefusalKey,
)
from threadtrace.probe.source import Counters

_ZERO = Counts(0, 0, 0, 0)
_NO_REFUSALS = RefusalCounts(0, 0, 0, 0)
_NOTHING = Totals()
# Past the named tuple's own constructor, which takes longer than the rest of closing an interval.
_AS_TOTALS = partial(tuple.__new__, Totals)

# Growth is averaged so that a shell that forks and reaps does not jump about in the view, while a
# leak shows within two ticks of a second.
_GROWTH_SECONDS = 3.0
_NO_GROWTH_PER_SECOND = 0.05


def growth_weight(interval_seconds: float, watched_seconds: float) -> float:
    """How much an interval counts in the average of growth, 0 to 1.

    In the beginning it counts as its share of all that was seen: the first sample is no third of
    the truth.
    """
    if watched_seconds <= 0:
        return 0.0
    smoothed = 1 - math.exp(-interval_seconds / _GROWTH_SECONDS)
    return max(smoothed, min(1.0, interval_seconds / watched_seconds))


@dataclass(slots=True, eq=False)
class Account:
    """One workload's counts."""

    workload: Workload
    tasks_before: int | None
    """Present tasks when growth was last followed; None: the baseline, which is no growth."""
    cgroup_ids: set[int] = field(default_factory=set)
    tasks: int = 0
    tasks_peak: int = 0
    threads_created: int = 0
    processes_created: int = 0
    exited: int = 0
    refused: dict[int, int] = field(default_factory=dict)
    """By errno. Like the three above: of the interval that is being counted."""
    interval: Totals = _NOTHING
    """Of the interval that was closed last."""
    interval_refused: dict[int, int] = field(default_factory=dict)
    is_active: bool = False
    """Whether anything happened in it."""
    closed: Totals = _NOTHING
    """Of its cgroups that are gone: of all their life."""
    growth_per_second: float = 0.0
    """By how much the number of tasks has changed lately, averaged."""
    is_stale: bool = True
    """Whether the snapshot no longer shows what is here."""
    snapshot: WorkloadSnapshot | None = None
    top: Cgroup | None = None
    """Where it stands in the tree; None for what cannot be seen there."""
    limit_owner: Cgroup | None = None
    """The nearest cgroup with a pids.max, from there upwards."""
    has_limit_owner: bool = False
    """Whether that one was looked for; it may be that there is none."""
    mark: int = 0
    """The lowest number of tasks since ``mark_s``, from which a growth is measured."""
    mark_s: float = 0.0
    mark_born: Totals = _NOTHING
    """Births and exits until then."""
    state: State | None = None
    """As a detector tells; None is quiet."""
    forecast: Forecast | None = None

    def close_interval(self) -> bool:
        """Start counting the next interval; whether anything happened in the one that ends."""
        threads, processes, exited = self.threads_created, self.processes_created, self.exited
        refused = 0
        if self.refused or self.interval_refused:
            self.interval_refused, self.refused = self.refused, {}
            refused = sum(self.interval_refused.values())
        if not (threads or processes or exited or refused):
            self.is_stale = self.is_stale or self.is_active
            self.interval, self.is_active = _NOTHING, False
            return False
        self.interval = _AS_TOTALS((threads, processes, exited, refused))
        self.threads_created = self.processes_created = self.exited = 0
        self.is_active = self.is_stale = True
        return True

    def follow_growth(self, interval_seconds: float, weight: float) -> bool:
        """Renew the average after an interval; whether there is anything left to follow.

        Args:
            interval_seconds: length of the interval.
            weight: how much it counts, as ``growth_weight`` tells.
        """
        before, self.tasks_before = self.tasks_before, self.tasks
        if before is None or interval_seconds <= 0:
            return False
        change_per_second = (self.tasks - before) / interval_seconds
        growth = self.growth_per_second + weight * (change_per_second - self.growth_per_second)
        self.growth_per_second = growth if abs(growth) > _NO_GROWTH_PER_SECOND else 0.0
        self.is_stale = self.is_stale or bool(growth)
        return bool(self.growth_per_second)


class ActiveCgroups(NamedTuple):
    """Ids of cgroups in which something was counted."""

    active: list[int]
    unbalanced: list[int]
    """Those with more births than exits, or fewer."""


class Accounts:
    """All workloads' counts."""

    def __init__(self) -> None:
        self._by_key: dict[str, Account] = {}
        self._by_cgroup: dict[int, Account] = {}
        self._active: set[Account] = set()
        self._counted = _NOTHING
        self._is_baseline = True
        self._last_counts: dict[int, Counts] = {}
        self._last_refusals: dict[RefusalKey, RefusalCounts] = {}
        self._last_processes: dict[ProcessKey, ProcessCounts] = {}
        self._created_ahead: dict[ProcessKey, int] = {}
        self._last_unattributed = _ZERO
        self._last_lost: dict[str, int] = {}

    def __iter__(self) -> Iterator[Account]:
        return iter(self._by_key.values())

    def account(self, key: str) -> Account:
        """The account of that workload."""
        return self._by_key[key]

    def account_of_cgroup(self, cgroup_id: int) -> Account | None:
        """The account that a cgroup's counts go to; None when it was not assigned."""
        return self._by_cgroup.get(cgroup_id)

    def assign(self, cgroup_id: int, workload: Workload) -> Account:
        """Let a cgroup's counts go to that workload, whose account is opened if need be."""
        account = self._by_key.get(workload.key)
        if account is None:
            account = Account(workload, None if self._is_baseline else 0)
            self._by_key[workload.key] = account
        account.workload = workload
        account.cgroup_ids.add(cgroup_id)
        self._by_cgroup[cgroup_id] = account
        return account

    def rename(self, key: str, workload: Workload) -> None:
        """More is known of the workload of that key, or it has another one now."""
        account = self._by_key.pop(key)
        self._by_key[workload.key] = account
        account.workload, account.is_stale = workload, True

    def unassigned(self, counters: Counters) -> set[int]:
        """Cgroups with counts that belong to no workload yet."""
        found = counters.cgroups.keys() - self._by_cgroup.keys()
        found.update(key.cgroup_id for key in counters.refusals)
        return found - self._by_cgroup.keys()

    def count(self, counters: Counters) -> ActiveCgroups:
        """Add what happened since the last call; the cgroups in which anything did.

        Ends the interval of every workload: ``Account.interval`` tells what was in it.
        """
        active_ids, unbalanced_ids = [], []
        all_threads = all_processes = all_exited = all_refused = 0
        touched = self._active  # those of the interval before go back to zero
        last, by_cgroup = self._last_counts, self._by_cgroup
        for cgroup_id, counts in counters.cgroups.items():
            before = last.get(cgroup_id, _ZERO)
            if counts != before:
                active_ids.append(cgroup_id)
                threads = counts[0] - before[0]
                processes = counts[1] - before[1]
                exited = counts[2] - before[2] + counts[3] - before[3]
                if threads + processes != exited:
                    unbalanced_ids.append(cgroup_id)
                account = by_cgroup[cgroup_id]
                account.threads_created += threads
                account.processes_created += processes
                account.exited += exited
                touched.add(account)
                all_threads += threads
                all_processes += processes
                all_exited += exited
        for key, refusals in counters.refusals.items():
            change = refusals.refused - self._last_refusals.get(key, _NO_REFUSALS).refused
            if change:
                active_ids.append(key.cgroup_id)
                account = by_cgroup[key.cgroup_id]
                account.refused[key.error] = account.refused.get(key.error, 0) + change
                touched.add(account)
                all_refused += change
        self._counted = Totals(all_threads, all_processes, all_exited, all_refused)
        self._last_counts = counters.cgroups
        self._last_refusals = counters.refusals
        self._active = {account for account in touched if account.close_interval()}
        return ActiveCgroups(active_ids, unbalanced_ids)

    @property
    def active(self) -> set[Account]:
        """Those in which anything happened in the interval that was closed last."""
        return self._active

    def born(self, account: Account, counts_of: Callable[[int], Counts | None]) -> Totals:
        """All births and exits of a workload so far, refusals left out.

        Args:
            account: the workload.
            counts_of: tells the counts of a cgroup of its.
        """
        threads, processes, exited, _ = account.closed
        for cgroup_id in account.cgroup_ids:
            counts = counts_of(cgroup_id)
            if counts is not None:
                threads += counts.threads_created
                processes += counts.processes_created
                exited += counts.threads_exited + counts.processes_exited
        return Totals(threads, processes, exited)

    def last_counts(self, cgroup_id: int) -> Counts | None:
        """Of a cgroup, as the last call of ``count`` was told."""
        return self._last_counts.get(cgroup_id)

    def counted(self) -> Totals:
        """Of the interval that was closed last, all workloads together."""
        return self._counted

    def end_baseline(self) -> None:
        """What is assigned from now on is new: its tasks are growth."""
        self._is_baseline = False

    def count_processes(self, counters: Counters) -> dict[ProcessKey, int]:
        """How many tasks each process created since the last call, where it did.

        The kernel's map of processes is read after that of cgroups. A birth between the two is
        told when its workload is told to have had it: were it told now, and the workload idle, no
        event would carry it.
        """
        created = self._released(counters)
        last = self._last_processes
        for key, counts in counters.processes.items():
            before = last.get(key)
            if counts == before:
                continue
            start_ns, threads, processes, _, _, _ = counts
            change = threads + processes
            # Another start time: the PID was given to a new process, which began at zero.
            if before is not None and before.start_boottime_ns == start_ns:
                change -= before.threads_created + before.processes_created
            if change > 0:
                account = self._by_cgroup.get(key[0])
                is_ahead = account is not None and not account.is_active
                into = self._created_ahead if is_ahead else created
                into[key] = into.get(key, 0) + change
        self._last_processes = counters.processes
        return created

    def _released(self, counters: Counters) -> dict[ProcessKey, int]:
        """What was created ahead of its workload's count, where that has it now."""
        if not self._created_ahead:
            return {}
        ahead, self._created_ahead = self._created_ahead, {}
        released: dict[ProcessKey, int] = {}
        for key, count in ahead.items():
            account = self._by_cgroup.get(key[0])
            if account is not None and key in counters.processes:
                (released if account.is_active else self._created_ahead)[key] = count
        return released

    def count_unattributed(self, counters: Counters) -> Totals:
        """What found the map of cgroups full since the last call."""
        now, before = counters.unattributed, self._last_unattributed
        self._last_unattributed = now
        change = [one - other for one, other in zip(now, before)]
        return Totals(change[0], change[1], change[2] + change[3])

    def count_losses(self, lost: Mapping[str, int]) -> dict[str, int]:
        """What was lost since the last call, by place."""
        changes = {where: count - self._last_lost.get(where, 0) for where, count in lost.items()}
        self._last_lost = dict(lost)
        return {where: change for where, change in changes.items() if change}

    def add_tasks(self, cgroup_id: int, change: int) -> Account | None:
        """Tasks came to a cgroup or left it; the account concerned."""
        account = self._by_cgroup.get(cgroup_id)
        if account is not None and change:
            account.tasks += change
            account.is_stale = True
        return account

    def close_cgroup(self, cgroup_id: int) -> Account | None:
        """A cgroup is gone; the account that it belonged to, closed too if it was the last one."""
        refused = sum(self._last_refusals.pop(key).refused for key in self.refusal_keys(cgroup_id))
        counts = self._last_counts.pop(cgroup_id, _ZERO)
        account = self._by_cgroup.pop(cgroup_id, None)
        if account is None:
            return None
        account.cgroup_ids.discard(cgroup_id)
        # The kernel counts from the attachment on, which is when the agent's life begins too.
        threads, processes, threads_exited, processes_exited = counts
        life = (threads, processes, threads_exited + processes_exited, refused)
        account.closed = Totals(*map(add, account.closed, life))
        if not account.cgroup_ids:
            del self._by_key[account.workload.key]
            self._active.discard(account)
        return account

    def forget_process(self, key: ProcessKey) -> None:
        """A process whose entry was dropped: should it create again, it begins at zero."""
        self._last_processes.pop(key, None)
        self._created_ahead.pop(key, None)

    def refusal_keys(self, cgroup_id: int) -> list[RefusalKey]:
        """Why clones were refused in a cgroup so far."""
        return [key for key in self._last_refusals if key.cgroup_id == cgroup_id]
