"""A refused clone, explained: which limit, who holds it, who suffers, what to change."""

from __future__ import annotations

from typing import NamedTuple

from threadtrace.identity.workloads import Workload
from threadtrace.probe.records import Evidence, Limit, Refused

REFUSAL_PROGRAMS = ("on_clone_exit", "on_copy_process_exit", "on_copy_process_return")
"""The kernel programs that see refused clones; one of them is attached where any can be."""


class LargestProcess(NamedTuple):
    """The process that holds most of what a culprit holds."""

    pid: int
    name: str
    threads: int


class Culprit(NamedTuple):
    """A workload that holds much of the limit that refused."""

    workload: Workload
    tasks: int
    """That count against the limit."""
    share_ratio: float | None
    """Of everything that counts against it; None where that is not known."""
    process: LargestProcess | None


class Victim(NamedTuple):
    """Who was refused."""

    workload: Workload
    pid: int
    """In the node's PID namespace, like the thread's id; 0 where only counts are known."""
    thread_id: int
    thread_name: str


class Refusal(NamedTuple):
    """One refusal, and those like it that were held back since the one before."""

    time_ns: int
    """Since the epoch."""
    victim: Victim
    error: int
    """errno."""
    refused: Refused
    limit: Limit
    limit_value: int | None
    usage: int | None
    """What the kernel compares with the limit, in that instant."""
    owner: str | None
    """Of the limit: a cgroup's path, ``PID namespace level N`` or ``uid N``."""
    is_own_limit: bool
    """Whether the victim's own cgroup has the limit: victim and culprit are one."""
    knob: str
    evidence: Evidence
    also_reached: tuple[Limit, ...]
    """Other limits that were reached in the same instant."""
    culprits: tuple[Culprit, ...]
    """Largest first."""
    refused_count: int
    """Refusals of this victim by this limit so far."""
    suppressed: int
    """Of those, the ones since the last that was told."""
    pid_namespace_level: int = 0
    """Of the namespace that has the limit; 0 is the node's."""

    @property
    def is_of_node(self) -> bool:
        """Whether everybody on the node is near that limit."""
        is_pid_max = self.limit is Limit.PID_MAX and self.pid_namespace_level == 0
        return self.limit is Limit.THREADS_MAX or is_pid_max
