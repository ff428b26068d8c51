"""From the kernel's record of a refusal to one that an operator can act on."""

from __future__ import annotations

import fcntl
import heapq
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from threadtrace.identity.workloads import Workload, unknown
from threadtrace.model import knobs
from threadtrace.model.accounts import Account, Accounts
from threadtrace.model.refusal import Culprit, LargestProcess, Refusal, Victim
from threadtrace.node.cgroups import Cgroup, CgroupTree
from threadtrace.node.processes import ProcessRecord, ProcessTable
from threadtrace.probe.records import (
    Evidence,
    Limit,
    RefusalCounts,
    RefusalKey,
    RefusalRecord,
    Refused,
)
from threadtrace.text import error_name

_CULPRITS = 5

# Refusals told between two ticks; those of further victims are told at later ticks, with their
# numbers. With one record a second for each victim and limit this is a node in flames.
_TOLD_PER_INTERVAL = 64

# A storm is over, and what the kernel held back is told, when none came for so long.
_QUIET_NS = 1_000_000_000

# How often the holders of a limit are looked for, of how many limits the last look is kept, and
# how many workloads, cgroups of each, processes in all are asked: ten milliseconds.
_LOOK_SECONDS = 0.5
_KEPT_LOOKS = 256
_ASKED_WORKLOADS = 64
_ASKED_CGROUPS = 8
_ASKED_PROCESSES = 512

_UID_MASK = 0xFFFFFFFF

_NS_GET_PARENT = 0xB702  # include/uapi/linux/nsfs.h


class Refusals:
    """Tells of refusals: at once, and what was held back when it is over.

    What grows: one refusal for each victim and limit, which leaves with the victim's cgroup.
    """

    def __init__(
        self,
        accounts: Accounts,
        tree: CgroupTree,
        processes: ProcessTable,
        realtime_of: Callable[[int], int],
    ) -> None:
        """Explain from what these know.

        Args:
            accounts: workloads and what they hold.
            tree: cgroups by id.
            processes: all of the node.
            realtime_of: nanoseconds since the epoch of a monotonic time.
        """
        self._accounts = accounts
        self._tree = tree
        self._processes = processes
        self._realtime_of = realtime_of
        self._told: dict[RefusalKey, Refusal] = {}
        self._room = _TOLD_PER_INTERVAL
        self._looks: dict[tuple[int, int], tuple[float, tuple[Culprit, ...]]] = {}

    def explain(self, record: RefusalRecord) -> Refusal | None:
        """One that the kernel told of; None when too many were told, it is then told later."""
        if self._room <= 0:
            return None
        self._room -= 1
        victim = Victim(
            self._workload_of(record.key.cgroup_id), record.tgid, record.tid, record.thread_name
        )
        reached = tuple(sorted(record.reached - {record.key.limit}))
        return self._refusal(
            record.key,
            record.timestamp_ns,
            record.count,
            victim,
            (record.usage, record.limit_value, record.pid_namespace_level),
            record.refused,
            reached,
        )

    def held_back(self, counts: dict[RefusalKey, RefusalCounts], now_ns: int) -> Iterator[Refusal]:
        """Those that were counted but not told, once their storm is over.

        Args:
            counts: of all refusals so far.
            now_ns: monotonic, like the times of ``counts``.
        """
        self._room = _TOLD_PER_INTERVAL
        for key, counted in counts.items():
            told = self._told.get(key)
            pending = counted.refused - (told.refused_count if told else 0)
            if pending <= 0 or now_ns - counted.last_ns < _QUIET_NS:
                continue
            if self._room <= 0:
                return
            self._room -= 1
            yield self._told_late(key, counted, told)

    def forget(self, keys: Iterable[RefusalKey]) -> None:
        """Victims that are gone."""
        for key in keys:
            self._told.pop(key, None)

    def _refusal(
        self,
        key: RefusalKey,
        time_ns: int,
        count: int,
        victim: Victim,
        readings: tuple[int | None, int | None, int],
        refused: Refused,
        also_reached: tuple[Limit, ...],
    ) -> Refusal:
        usage, limit_value, level = readings
        limit = Limit(key.limit)
        told = self._told.get(key)
        suppressed = max(0, count - (told.refused_count if told else 0) - 1)
        owner_cgroup = self._tree.find(key.owner) if limit is Limit.PIDS_MAX else None
        owner, knob = _owner_and_knob(key, owner_cgroup, level)
        refusal = self._told[key] = Refusal(
            time_ns=self._realtime_of(time_ns),
            victim=victim,
            error=key.error,
            refused=refused,
            limit=limit,
            limit_value=limit_value,
            usage=usage,
            owner=owner,
            is_own_limit=self._is_own(key, owner_cgroup),
            knob=knob,
            evidence=Evidence(key.evidence),
            also_reached=also_reached,
            culprits=self._culprits(key, owner_cgroup, level, usage),
            refused_count=count,
            suppressed=suppressed,
        )
        return refusal

    def _told_late(self, key: RefusalKey, counted: RefusalCounts, told: Refusal | None) -> Refusal:
        """The last of a storm, as the one before it was told: nobody looked in its instant."""
        if told is None:
            victim = Victim(self._workload_of(key.cgroup_id), 0, 0, "")
            readings, refused = (None, None, 0), Refused.UNKNOWN
            return self._refusal(
                key, counted.last_ns, counted.refused, victim, readings, refused, ()
            )
        late = self._told[key] = told._replace(
            time_ns=self._realtime_of(counted.last_ns),
            refused_count=counted.refused,
            suppressed=counted.refused - told.refused_count - 1,
        )
        return late

    def _workload_of(self, cgroup_id: int) -> Workload:
        account = self._accounts.account_of_cgroup(cgroup_id)
        return unknown(cgroup_id) if account is None else account.workload

    def _is_own(self, key: RefusalKey, owner: Cgroup | None) -> bool:
        if owner is None:
            return False
        of_owner = self._accounts.account_of_cgroup(owner.id)
        return of_owner is not None and of_owner is self._accounts.account_of_cgroup(key.cgroup_id)

    def _culprits(
        self, key: RefusalKey, owner: Cgroup | None, level: int, usage: int | None
    ) -> tuple[Culprit, ...]:
        """Who holds the limit; looked for again only when the last look is some time ago."""
        now = time.monotonic()
        looked_at, culprits = self._looks.get((key.limit, key.owner), (-math.inf, ()))
        if now - looked_at >= _LOOK_SECONDS:
            culprits = self._look(key, owner, level, usage)
            if len(self._looks) >= _KEPT_LOOKS:
                self._looks.clear()
            self._looks[key.limit, key.owner] = time.monotonic(), culprits
        return culprits

    def _look(
        self, key: RefusalKey, owner: Cgroup | None, level: int, usage: int | None
    ) -> tuple[Culprit, ...]:
        if key.limit == Limit.PIDS_MAX:
            return self._holders(usage, owner) if owner is not None else ()
        if key.limit == Limit.THREADS_MAX or (key.limit == Limit.PID_MAX and level == 0):
            return self._holders(usage, self._tree.root)
        if key.limit == Limit.PID_MAX:
            return self._holders_among(usage, lambda pid: key.owner in _pid_namespaces(pid))
        if key.limit == Limit.RLIMIT_NPROC:
            uid = key.owner & _UID_MASK
            return self._holders_among(usage, lambda pid: _real_uid(pid) == uid)
        return ()

    def _holders(self, usage: int | None, below: Cgroup) -> tuple[Culprit, ...]:
        """Workloads by the tasks that they hold below a cgroup."""
        culprits = []
        for account in self._largest(_CULPRITS, below):
            self._find_processes(account)
            culprits.append(self._culprit(account, account.tasks, usage))
        return tuple(culprits)

    def _holders_among(
        self, usage: int | None, counts: Callable[[int], bool]
    ) -> tuple[Culprit, ...]:
        """Workloads by the threads of those of their processes that count.

        The largest processes of the largest workloads are asked. Where there are more, those of
        the same workload that were not asked count in the proportion of those that were.
        """
        held: list[tuple[int, Account]] = []
        asks = _ASKED_PROCESSES
        for account in self._largest(_ASKED_WORKLOADS, self._tree.root):
            self._find_processes(account)
            records = self._processes.largest_unnamed(account.cgroup_ids, asks)
            counting = sum(record.threads for record in records if counts(record.pid))
            if counting and len(records) == asks:
                asked = sum(record.threads for record in records)
                counting = max(counting, account.tasks * counting // asked)
            if counting:
                held.append((counting, account))
            asks -= len(records)
            if asks <= 0:
                break
        held.sort(key=lambda entry: -entry[0])
        return tuple(self._culprit(account, tasks, usage) for tasks, account in held[:_CULPRITS])

    def _largest(self, count: int, below: Cgroup) -> list[Account]:
        accounts = [
            account
            for account in self._accounts
            if account.tasks > 0 and _is_below(account.top, below)
        ]
        return heapq.nlargest(count, accounts, key=lambda account: account.tasks)

    def _find_processes(self, account: Account) -> None:
        """Who is in it now: a young process may not have been found by the passes through /proc."""
        for cgroup_id in islice(account.cgroup_ids, _ASKED_CGROUPS):
            cgroup = self._tree.find(cgroup_id)
            if cgroup is not None:
                for pid in self._tree.processes_in(cgroup):
                    self._processes.note_found(pid, cgroup_id)

    def _culprit(self, account: Account, tasks: int, usage: int | None) -> Culprit:
        records = self._processes.largest(account.cgroup_ids, 1)
        process = _as_process(records[0]) if records else None
        return Culprit(account.workload, tasks, _share(tasks, usage), process)


def _owner_and_knob(key: RefusalKey, owner: Cgroup | None, level: int) -> tuple[str | None, str]:
    limit = Limit(key.limit)
    if limit is Limit.PIDS_MAX:
        if owner is None:
            return None, "pids.max of a cgroup that is gone"
        return owner.path, knobs.knob_of_cgroup(owner.path)
    if limit is Limit.RLIMIT_NPROC:
        uid = key.owner & _UID_MASK
        return f"uid {uid}", knobs.knob_of_user(uid)
    if limit is Limit.PID_MAX:
        knob = knobs.knob_of_pid_namespace(level) if level else knobs.knob_of_node(limit)
        return f"PID namespace level {level}", knob
    if limit is Limit.THREADS_MAX:
        return "node", knobs.knob_of_node(limit)
    return None, knobs.knob_of_other(limit, error_name(key.error))


def _is_below(cgroup: Cgroup | None, owner: Cgroup) -> bool:
    while cgroup is not None:
        if cgroup is owner:
            return True
        cgroup = cgroup.parent
    return False


def _share(tasks: int, usage: int | None) -> float | None:
    return min(1.0, tasks / usage) if usage else None


def _as_process(record: ProcessRecord) -> LargestProcess:
    return LargestProcess(record.pid, record.name, record.threads)


def _real_uid(pid: int) -> int | None:
    """RLIMIT_NPROC counts by the real user; the owner of /proc/PID is the effective one."""
    try:
        with open(f"/proc/{pid}/status", "rb", buffering=0) as file:
            _, found, rest = file.read(4096).partition(b"\nUid:")
    except OSError:
        return None
    return int(rest.split(None, 1)[0]) if found else None


def _pid_namespaces(pid: int) -> set[int]:
    """Inode numbers of the PID namespace of a process and of those around it."""
    found: set[int] = set()
    try:
        fd = os.open(f"/proc/{pid}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return found
    while True:
        found.add(os.fstat(fd).st_ino)
        parent = _parent_namespace(fd)
        os.close(fd)
        if parent is None:
            return found
        fd = parent


def _parent_namespace(fd: int) -> int | None:
    try:
        return fcntl.ioctl(fd, _NS_GET_PARENT)
    except OSError:
        return None
