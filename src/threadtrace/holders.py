"""Who holds a limit: workloads by what they hold of it, down to their largest process."""

from __future__ import annotations

import fcntl
import heapq
import os
from collections.abc import Callable, Iterable
from itertools import islice

from threadtrace.model.accounts import Account, Accounts
from threadtrace.model.refusal import Culprit, LargestProcess
from threadtrace.node.cgroups import Cgroup, CgroupTree
from threadtrace.node.processes import ProcessRecord, ProcessTable

_CULPRITS = 5

# How many workloads, cgroups of each and processes in all are asked: ten milliseconds.
_ASKED_WORKLOADS = 64
_ASKED_CGROUPS = 8
_ASKED_PROCESSES = 512

_NS_GET_PARENT = 0xB702  # include/uapi/linux/nsfs.h


class Holders:
    """Ranks workloads by what they hold now."""

    def __init__(self, accounts: Accounts, tree: CgroupTree, processes: ProcessTable) -> None:
        """Of what these know."""
        self._accounts = accounts
        self._tree = tree
        self._processes = processes

    def below(self, cgroup: Cgroup, usage: int | None) -> tuple[Culprit, ...]:
        """Workloads by the tasks that they hold below a cgroup, the root standing for the node."""
        culprits = []
        for account in self._largest(_CULPRITS, cgroup):
            self.find_processes(account)
            culprits.append(self._culprit(account, account.tasks, usage))
        return tuple(culprits)

    def in_pid_namespace(self, inode: int, usage: int | None) -> tuple[Culprit, ...]:
        """Workloads by their threads in the PID namespace of that inode number and within."""
        return self._among(usage, lambda pid: inode in pid_namespaces(pid))

    def of_user(self, uid: int, usage: int | None) -> tuple[Culprit, ...]:
        """Workloads by the threads whose real user is that one."""
        return self._among(usage, lambda pid: _real_uid(pid) == uid)

    def _among(self, usage: int | None, counts: Callable[[int], bool]) -> tuple[Culprit, ...]:
        """Workloads by the threads of those of their processes that count.

        The largest processes of the largest workloads are asked. Where there are more, those of
        the same workload that were not asked count in the proportion of those that were.
        """
        held: list[tuple[int, Account]] = []
        asks = _ASKED_PROCESSES
        for account in self._largest(_ASKED_WORKLOADS, self._tree.root):
            self.find_processes(account)
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

    def accounts_below(self, cgroup: Cgroup) -> list[Account]:
        """Of all workloads that hold a task there."""
        return [
            account
            for account in self._accounts
            if account.tasks > 0 and _is_below(account.top, cgroup)
        ]

    def accounts_of(self, culprits: Iterable[Culprit]) -> list[Account]:
        """Of the workloads among these."""
        keys = {culprit.workload.key for culprit in culprits}
        return [account for account in self._accounts if account.workload.key in keys]

    def _largest(self, count: int, below: Cgroup) -> list[Account]:
        accounts = self.accounts_below(below)
        return heapq.nlargest(count, accounts, key=lambda account: account.tasks)

    def find_processes(self, account: Account) -> None:
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


def pid_namespaces(pid: int) -> set[int]:
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
