"""Gathers the answer of ``threadtrace why`` from what the pipeline knows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from threadtrace.holders import Holders
from threadtrace.model import knobs
from threadtrace.model.accounts import Account
from threadtrace.model.diagnosis import Cause, NearLimit
from threadtrace.model.snapshot import NodeSnapshot
from threadtrace.node.cgroups import Cgroup, CgroupTree
from threadtrace.node.users import UserTasks
from threadtrace.probe.records import Limit

_LEAST_GROWTH_PER_SECOND = 0.5


def order(causes: Iterable[Cause]) -> tuple[Cause, ...]:
    """By what an operator needs first: it refuses now, is a limit, others suffer, refuses most."""
    return tuple(
        sorted(
            causes,
            key=lambda cause: (
                cause.is_now,
                cause.last.limit is not Limit.OTHER,
                not cause.is_own_limit,
                cause.refused,
            ),
            reverse=True,
        )
    )


class _Candidate(NamedTuple):
    limit: Limit
    value: int
    usage: int
    cgroup: Cgroup | None
    uid: int

    @property
    def used_ratio(self) -> float:
        # A limit of 0 forbids; nothing can be in it that counts.
        return self.usage / self.value if self.value > 0 else float(self.usage > 0)


def nearest_limit(
    node: NodeSnapshot, tree: CgroupTree, holders: Holders, users: Sequence[UserTasks]
) -> NearLimit | None:
    """The limit with the highest share in use: of the node, of any cgroup, or of a user.

    None where not even the node's can be read.
    """
    nearest = max(
        _candidates(node, tree, users), key=lambda candidate: candidate.used_ratio, default=None
    )
    if nearest is None:
        return None
    if nearest.cgroup is None:
        culprits = holders.of_user(nearest.uid, nearest.usage)
        growing = holders.accounts_of(culprits)
        owner, knob = f"uid {nearest.uid}", knobs.knob_of_user(nearest.uid)
    else:
        culprits = holders.below(nearest.cgroup, nearest.usage)
        growing = holders.accounts_below(nearest.cgroup)
        if nearest.limit is Limit.PIDS_MAX:
            owner, knob = nearest.cgroup.path, knobs.knob_of_cgroup(nearest.cgroup.path)
        else:
            owner, knob = "node", knobs.knob_of_node(nearest.limit)
    fastest = _fastest(growing)
    return NearLimit(
        nearest.limit,
        owner,
        nearest.value,
        nearest.usage,
        knob,
        culprits,
        None if fastest is None else fastest.workload,
        0.0 if fastest is None else fastest.growth_per_second,
    )


def _candidates(
    node: NodeSnapshot, tree: CgroupTree, users: Sequence[UserTasks]
) -> Iterator[_Candidate]:
    """Of two that are equally near the first counts: the node's before a container's."""
    for limit, value in (
        (Limit.PID_MAX, node.pid_max_usable),
        (Limit.THREADS_MAX, node.threads_max),
    ):
        if value and node.tasks is not None:
            yield _Candidate(limit, value, node.tasks, tree.root, 0)
    for cgroup in tree:
        if cgroup.limit is not None:
            yield _Candidate(Limit.PIDS_MAX, cgroup.limit, cgroup.tasks, cgroup, 0)
    for user in users:
        yield _Candidate(Limit.RLIMIT_NPROC, user.limit, user.tasks, None, user.uid)


def _fastest(accounts: Iterable[Account]) -> Account | None:
    growing = [a for a in accounts if a.growth_per_second >= _LEAST_GROWTH_PER_SECOND]
    return max(growing, key=lambda account: account.growth_per_second, default=None)
