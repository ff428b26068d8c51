"""A closer look at one workload or one process, when somebody asks for it: at most 50 ms."""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterable, Iterator

from threadtrace.attribution import ProcessAttribution
from threadtrace.forecasting import Binding, Forecasts
from threadtrace.holders import Holders, pid_namespaces
from threadtrace.model.accounts import Accounts
from threadtrace.model.details import (
    LimitLevel,
    ProcessDetails,
    ProcessInspection,
    WorkloadDetails,
)
from threadtrace.model.explosion import ThreadName
from threadtrace.node.process_files import (
    Status,
    looks_of,
    nproc_limit,
    status_of,
    tasks_of_user,
    user_namespace,
)
from threadtrace.node.processes import ProcessRecord, ProcessTable
from threadtrace.node.threads import thread_names
from threadtrace.owners import LOWER_HALF, owner_and_knob
from threadtrace.presence import Presence
from threadtrace.probe.host import INITIAL_USER_NAMESPACE
from threadtrace.probe.records import Limit

MAX_PROCESSES = 512

# How long the files of the processes of a workload are read, and those of all processes for who
# counts against RLIMIT_NPROC. What is not reached by then is told without, or not known.
_READ_SECONDS = 0.02
_COUNT_SECONDS = 0.02
_MAX_THREAD_NAMES = 64


class Inspector:
    """Looks closer, out of what the pipeline knows and what /proc tells now."""

    def __init__(
        self,
        accounts: Accounts,
        processes: ProcessTable,
        holders: Holders,
        attribution: ProcessAttribution,
        forecasts: Forecasts,
        presence: Presence,
    ) -> None:
        """Of what these know."""
        self._accounts = accounts
        self._processes = processes
        self._holders = holders
        self._attribution = attribution
        self._forecasts = forecasts
        self._presence = presence

    def workload(self, key: str, interval_seconds: float | None) -> WorkloadDetails | None:
        """Its processes and its limits; None where there is no such workload.

        Args:
            key: as in ``Workload``.
            interval_seconds: length of the last interval, None where there was none.
        """
        try:
            account = self._accounts.account(key)
        except KeyError:
            return None
        self._presence.look_at([account])
        self._holders.find_processes(account)
        records = self._processes.largest_unnamed(account.cgroup_ids, len(self._processes))
        is_complete = self._processes.completed_sweeps > 0
        return WorkloadDetails(
            key=key,
            processes=tuple(self._listed(records, interval_seconds)),
            processes_count=len(records) if is_complete else None,
            limits=_levels(self._forecasts.bindings(account)),
        )

    def process(self, pid: int, interval_seconds: float | None) -> ProcessInspection | None:
        """Who it is, what its threads are called, its limits; None where there is none.

        Args:
            pid: in the node's PID namespace.
            interval_seconds: length of the last interval, None where there was none.
        """
        status = status_of(pid)
        record = self._processes.look_at(pid) if status is not None else None
        if status is None or record is None:
            return None
        account = self._accounts.account_of_cgroup(record.cgroup_id)
        bindings: list[Binding] = []
        if account is not None:
            self._presence.look_at([account])
            bindings = self._forecasts.bindings(account)
        names = thread_names(pid)[:_MAX_THREAD_NAMES]
        return ProcessInspection(
            process=self._details(record, interval_seconds, True),
            parent_pid=status.parent_pid,
            uid=status.uid,
            thread_names=tuple(ThreadName(*found) for found in names),
            limits=self._limits_of(pid, status, bindings),
        )

    def _listed(
        self, records: list[ProcessRecord], interval_seconds: float | None
    ) -> Iterator[ProcessDetails]:
        """Those with the most threads, of equal ones those that create."""
        shown = heapq.nlargest(
            MAX_PROCESSES,
            records,
            key=lambda record: (
                record.threads,
                self._attribution.created(record.cgroup_id, record.pid),
            ),
        )
        until = time.perf_counter() + _READ_SECONDS
        for record in shown:
            yield self._details(record, interval_seconds, time.perf_counter() < until)

    def _details(
        self, record: ProcessRecord, interval_seconds: float | None, is_read: bool
    ) -> ProcessDetails:
        looks = looks_of(record.pid) if is_read else None
        created = self._attribution.created(record.cgroup_id, record.pid)
        return ProcessDetails(
            pid=record.pid,
            name=looks.name if looks is not None else record.name,
            command_line=None if looks is None else looks.command_line,
            threads=record.threads,
            created_per_second=created / interval_seconds if interval_seconds else None,
            age_seconds=None if looks is None else looks.age_seconds,
        )

    def _limits_of(
        self, pid: int, status: Status, bindings: list[Binding]
    ) -> tuple[LimitLevel, ...]:
        """Of its workload's limits those that hold for this process, and its own RLIMIT_NPROC."""
        inodes = pid_namespaces(pid)
        levels = _levels(
            binding
            for binding in bindings
            if binding.limit is not Limit.RLIMIT_NPROC
            and (not binding.level or binding.owner & LOWER_HALF in inodes)
        )
        own = self._nproc(pid, status, bindings)
        return levels if own is None else (own, *levels)

    def _nproc(self, pid: int, status: Status, bindings: list[Binding]) -> LimitLevel | None:
        value = nproc_limit(pid) if status.is_held_to_nproc else None
        namespace = user_namespace(pid)
        if value is None or namespace is None:
            return None
        # As in the kernel's keys: the user and the user namespace in which it is counted.
        owner = namespace << LOWER_HALF.bit_length() | status.uid
        shown, knob = owner_and_knob(Limit.RLIMIT_NPROC, owner, None, 0)
        usage = self._tasks_of(status.uid) if namespace == INITIAL_USER_NAMESPACE else None
        if usage is None:
            told = [entry for entry in bindings if entry.limit is Limit.RLIMIT_NPROC]
            usage = next((entry.usage for entry in told if entry.owner == owner), None)
        return LimitLevel(Limit.RLIMIT_NPROC, shown or "", value, usage, knob)

    def _tasks_of(self, uid: int) -> int | None:
        """None where there are too many processes to look at, or not all are known."""
        if not self._processes.completed_sweeps:
            return None
        pids = self._processes.largest_pids(len(self._processes))
        return tasks_of_user(uid, pids, time.perf_counter() + _COUNT_SECONDS)


def _levels(bindings: Iterable[Binding]) -> tuple[LimitLevel, ...]:
    """Cgroups from the nearest on, then users and namespaces, then the node; each once."""
    found: dict[tuple[Limit, int], Binding] = {}
    for binding in bindings:
        found.setdefault((binding.limit, binding.owner), binding)
    return tuple(map(_level, sorted(found.values(), key=_distance)))


def _distance(binding: Binding) -> int:
    if binding.limit is Limit.PIDS_MAX:
        return 0
    return 1 if binding.owner else 2


def _level(binding: Binding) -> LimitLevel:
    owner, knob = owner_and_knob(binding.limit, binding.owner, binding.cgroup, binding.level)
    return LimitLevel(binding.limit, owner or "", binding.value, binding.usage, knob)
