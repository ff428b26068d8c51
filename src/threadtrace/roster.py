"""Which cgroup belongs to which workload: from its first record to its last count."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from threadtrace.clock import Clock
from threadtrace.identity.workloads import Directory, Workload, identify, unknown
from threadtrace.model.accounts import Accounts
from threadtrace.model.snapshot import EndedWorkload
from threadtrace.node.cgroups import Cgroup, CgroupGone, CgroupTree
from threadtrace.probe.records import CgroupChange, CgroupRecord, RefusalKey


class Leaving(NamedTuple):
    """What was gone at some moment: closed once everything counted until then is read."""

    removed: dict[Cgroup, int]
    vanished: list[int]


class Roster:
    """Takes cgroups in and lets them go.

    What grows: one account a workload, which leaves with its last cgroup.
    """

    def __init__(
        self,
        accounts: Accounts,
        tree: CgroupTree,
        directory: Directory,
        clock: Clock,
        forget: Callable[[int, list[RefusalKey]], None],
    ) -> None:
        """Begin with all cgroups that the tree knows.

        Args:
            accounts: of the workloads.
            tree: cgroups by id, already scanned.
            directory: names of the workloads.
            clock: for the time of an end that no record tells.
            forget: called with the id of a cgroup that is gone, and the keys of its refusals.
        """
        self._accounts = accounts
        self._tree = tree
        self._directory = directory
        self._clock = clock
        self._forget = forget
        self.removed: dict[Cgroup, int] = {}
        """Cgroups that are gone and not closed yet, with the monotonic time of that in ns."""
        self._vanished: list[int] = []
        for cgroup in tree:
            self.file(cgroup)

    def handle(self, record: CgroupRecord) -> Workload | None:
        """Take in a record of the kernel; the workload if it is new."""
        if record.change is CgroupChange.RENAMED:
            self._rename(self._tree.rename(record.cgroup_id, record.path))
            return None
        if record.change is CgroupChange.REMOVED:
            cgroup = self._tree.find(record.cgroup_id)
            if cgroup is not None:
                self.removed[cgroup] = record.timestamp_ns
            return None
        # The tree may know it already, from a process found in it.
        is_assigned = self._accounts.account_of_cgroup(record.cgroup_id) is not None
        if is_assigned or not record.path:
            return None
        return self.file(self._tree.add(record.cgroup_id, record.path))

    def introduce(self, cgroup_id: int) -> None:
        """A cgroup that nobody told of: its record was lost, or it is older than the hooks."""
        try:
            cgroup = self._tree.find(cgroup_id) or self._tree.locate(cgroup_id)
        except CgroupGone:
            self._vanished.append(cgroup_id)
            cgroup = None
        if cgroup is not None:
            self.file(cgroup)
            return
        workload = self._directory.add(unknown(cgroup_id), self._clock.seconds())
        self._accounts.assign(cgroup_id, workload)

    def file(self, cgroup: Cgroup) -> Workload | None:
        """Assign a cgroup to its workload; the workload if it is new."""
        parent = cgroup.parent
        if parent is not None and self._accounts.account_of_cgroup(parent.id) is None:
            self.file(parent)
        workload = self._directory.add(identify(cgroup.path), self._clock.seconds())
        account = self._accounts.assign(cgroup.id, workload)
        self._accounts.add_tasks(cgroup.id, cgroup.tasks)
        is_new = account.top is None
        if account.top is None or len(cgroup.path) < len(account.top.path):
            account.top, account.has_limit_owner = cgroup, False
        return workload if is_new else None

    def leaving(self) -> Leaving:
        """Cgroups that are gone by now."""
        return Leaving(dict(self.removed), list(self._vanished))

    def close(self, leaving: Leaving) -> tuple[EndedWorkload, ...]:
        """Let cgroups go, and the workloads of which they were the last."""
        ended = []
        for cgroup, removed_ns in leaving.removed.items():
            ended.append(self._close_cgroup(cgroup.id, self._clock.realtime_of(removed_ns)))
            self._tree.remove(cgroup)
            del self.removed[cgroup]
        for cgroup_id in leaving.vanished:
            ended.append(self._close_cgroup(cgroup_id, self._clock.realtime_ns()))
        del self._vanished[: len(leaving.vanished)]
        return tuple(entry for entry in ended if entry is not None)

    def _close_cgroup(self, cgroup_id: int, time_ns: int) -> EndedWorkload | None:
        refusal_keys = self._accounts.refusal_keys(cgroup_id)
        self._forget(cgroup_id, refusal_keys)
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

    def _rename(self, cgroups: list[Cgroup]) -> None:
        for cgroup in cgroups:
            account = self._accounts.account_of_cgroup(cgroup.id)
            if account is not None and account.top is cgroup:
                old = account.workload
                renamed = self._directory.rename(old, cgroup.path, self._clock.seconds())
                self._accounts.rename(old.key, renamed)


def _depth(cgroup: Cgroup) -> int:
    return cgroup.path.count("/")
