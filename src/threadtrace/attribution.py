"""Which processes of a workload create tasks, and which hold them."""

from __future__ import annotations

import heapq
from functools import partial
from itertools import islice

from threadtrace.model.accounts import Account, Accounts
from threadtrace.model.snapshot import ProcessSnapshot
from threadtrace.node.processes import ProcessRecord, ProcessTable
from threadtrace.probe.records import ProcessKey, decode_name
from threadtrace.probe.source import Counters, CounterSource

TOP_PROCESSES = 5

# Bounds of the work on processes in one tick, a quarter to half a millisecond for each: the busiest
# creators are read again, then those that are shown, then a part of all. On a node with no more
# than a dozen active workloads every number shown is of this tick.
_BUSIEST_PER_TICK = 32
_SHOWN_PER_TICK = 64
_NAMES_PER_TICK = 16
_SWEEP_SECONDS = 0.0005

# Entries of processes that no longer create are dropped once the map is half full, so that it
# holds those that do; their counts have been told.
_RESTING_ENTRIES_PER_TICK = 1024

_AS_PROCESS = partial(tuple.__new__, ProcessSnapshot)


class ProcessAttribution:
    """Joins the kernel's counts by process with what /proc tells of each."""

    def __init__(
        self, source: CounterSource, processes: ProcessTable, accounts: Accounts, max_entries: int
    ) -> None:
        """Follow from now on.

        Args:
            source: of the counts; its entries of the dead are dropped here.
            processes: all processes of the node.
            accounts: keeps what was counted before.
            max_entries: room in the kernel's map of processes.
        """
        self._source = source
        self._processes = processes
        self._accounts = accounts
        self._max_entries = max_entries
        self._created: dict[ProcessKey, int] = {}
        self._fresh: set[int] = set()
        self._budget, self._names_budget = 0, 0

    def follow(self, counters: Counters) -> None:
        """Take in one tick's counts."""
        created = self._created = self._accounts.count_processes(counters)
        self._forget_dead(counters)
        if len(counters.processes) > self._max_entries // 2:
            self._forget_resting(counters)
        self._fresh.clear()
        self._budget, self._names_budget = _SHOWN_PER_TICK, _NAMES_PER_TICK
        for key in heapq.nlargest(_BUSIEST_PER_TICK, created, key=created.__getitem__):
            counts = counters.processes[key]
            if not counts.exited_ns:
                cgroup_id, pid = key
                record = self._processes.note(pid, cgroup_id, decode_name(counts.name))
                if counts.threads_created or not record.threads:  # who only forks gains none
                    self._processes.refresh(record)
                    self._fresh.add(pid)
                if self._names_budget > _NAMES_PER_TICK // 2:  # the rest is for those shown
                    self._names_budget -= 1
                    self._processes.check_name(record)
        self._processes.sweep(_SWEEP_SECONDS)
        for cgroup_id in self._processes.take_changed():
            account = self._accounts.account_of_cgroup(cgroup_id)
            if account is not None:
                account.is_stale = True

    def top(self, account: Account) -> tuple[ProcessSnapshot, ...]:
        """The processes with the most threads in a workload's cgroups."""
        records = self._processes.largest(account.cgroup_ids, TOP_PROCESSES)
        if not records:
            return ()
        if self._budget > 0 and self._refresh(records):
            records = self._processes.largest(account.cgroup_ids, TOP_PROCESSES)
        return tuple(map(self._as_snapshot, records))

    def busiest(self, account: Account) -> int | None:
        """The process that created most in the last interval, in a workload's cgroups."""
        found = [
            (created, pid)
            for (cgroup_id, pid), created in self._created.items()
            if cgroup_id in account.cgroup_ids
        ]
        return max(found)[1] if found else None

    def created(self, cgroup_id: int, pid: int) -> int:
        """Threads and processes that a process created in that cgroup in the last interval."""
        return self._created.get((cgroup_id, pid), 0)

    def name(self, pid: int) -> str:
        """Of a process; "" where it is not known."""
        return self._processes.name(pid)

    def _as_snapshot(self, record: ProcessRecord) -> ProcessSnapshot:
        pid = record.pid
        created = self.created(record.cgroup_id, pid)
        return _AS_PROCESS((pid, record.name, record.threads, created))

    def _refresh(self, records: list[ProcessRecord]) -> bool:
        """Read again those that were not read in this tick; whether that changed anything."""
        changed = False
        for record in records:
            if record.pid not in self._fresh and self._budget > 0:
                self._budget -= 1
                self._fresh.add(record.pid)
                changed |= self._processes.refresh(record)
            if self._names_budget > 0:
                self._names_budget -= 1
                changed |= self._processes.check_name(record)
        return changed

    def _forget_dead(self, counters: Counters) -> None:
        for key, counts in counters.processes.items():
            if counts.exited_ns:
                self._source.forget_process(key)
                self._processes.forget(key[1])

    def _forget_resting(self, counters: Counters) -> None:
        """Drop entries of processes that created nothing in this interval.

        Among them those of processes that moved to another cgroup and died there, which the
        kernel's programs cannot find.
        """
        resting = (key for key in counters.processes if key not in self._created)
        for key in list(islice(resting, _RESTING_ENTRIES_PER_TICK)):
            self._source.forget_process(key)
            self._accounts.forget_process(key)
