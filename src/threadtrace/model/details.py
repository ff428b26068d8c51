"""What is looked up of one workload or one process when somebody asks: immutable, like a snapshot.

``None`` where a value could not be read, or where the source (a recording) does not hold it.
"""

from __future__ import annotations

from typing import NamedTuple

from threadtrace.model.explosion import ThreadName
from threadtrace.probe.records import Limit


class ProcessDetails(NamedTuple):
    """One process of a workload."""

    pid: int
    """In the node's PID namespace."""
    name: str
    command_line: str | None
    threads: int
    created_per_second: float | None
    """Threads and processes, in the last interval."""
    age_seconds: float | None


class LimitLevel(NamedTuple):
    """One limit that the next task counts against."""

    limit: Limit
    owner: str
    """A cgroup's path, ``PID namespace level N``, ``uid N`` or ``node``."""
    value: int
    """That can be used: pid_max less what is never given out again."""
    usage: int | None
    """What the kernel compares with it."""
    knob: str
    """What an operator would change."""

    @property
    def used_ratio(self) -> float | None:
        """Share that is used; None where that is not known."""
        return None if self.usage is None or self.value <= 0 else self.usage / self.value


class WorkloadDetails(NamedTuple):
    """A workload, looked at closer."""

    key: str
    processes: tuple[ProcessDetails, ...]
    """Most threads first, a bounded number of them."""
    processes_count: int | None
    """All that there are."""
    limits: tuple[LimitLevel, ...]
    """Up the tree, the nearest first; then those of users and namespaces, then the node's."""


class ProcessInspection(NamedTuple):
    """A process, looked at closer."""

    process: ProcessDetails
    parent_pid: int | None
    uid: int | None
    """The real one, which RLIMIT_NPROC counts by."""
    thread_names: tuple[ThreadName, ...]
    """Names that differ in their digits only, with how many threads have them; most first."""
    limits: tuple[LimitLevel, ...]
    """That its next thread counts against: RLIMIT_NPROC, PID namespaces, pids.max up the tree."""
