"""What a recording tells of each workload, summed up while it is read."""

from __future__ import annotations

from dataclasses import dataclass

from threadtrace.report.fields import Fields, count, inner, number, objects, text

UNKNOWN_NAME = "unknown"

# Enough for a busy node; a recording of months may hold more that came and went.
_MAX_WORKLOADS = 20_000


@dataclass(frozen=True)
class ProcessSeen:
    """A process that held many threads; what is not known is None."""

    pid: int | None
    name: str | None
    threads: int | None


@dataclass
class WorkloadRecord:
    """One workload of one node. Times in nanoseconds since 1970, tasks as told by rates events."""

    key: str
    name: str
    kind: str
    cgroup: str | None
    last_ns: int
    peak_tasks: int = 0
    peak_ns: int = 0
    fastest_growth: float = 0
    refused: int = 0
    appeared_ns: int | None = None
    gone_ns: int | None = None
    largest: ProcessSeen | None = None

    @property
    def weight(self) -> int:
        """How much it matters when only some can be kept."""
        return self.peak_tasks + self.refused

    def sample(self, time_ns: int, details: Fields) -> int | None:
        """Take in a rates event; the number of tasks that it tells."""
        self.refused += count(details, "refused_count") or 0
        self.fastest_growth = max(self.fastest_growth, number(details, "growth_per_second") or 0)
        for process in objects(details, "top_processes")[:5]:
            self._see(process)
        tasks = count(details, "tasks_count")
        if tasks is None:
            return None
        if (tasks, -time_ns) > (self.peak_tasks, -self.peak_ns):
            self.peak_tasks, self.peak_ns = tasks, time_ns
        self.last_ns = max(self.last_ns, time_ns)
        return tasks

    def _see(self, process: Fields) -> None:
        threads = count(process, "threads")
        if threads is None:
            return
        if self.largest is None or threads > (self.largest.threads or 0):
            self.largest = process_seen(process)


def process_seen(fields: Fields) -> ProcessSeen | None:
    """Of an object with ``pid``, ``name`` and ``threads``; None where it tells nothing."""
    seen = ProcessSeen(count(fields, "pid"), text(fields, "name"), count(fields, "threads"))
    return None if seen == ProcessSeen(None, None, None) else seen


def label_of(details: Fields) -> tuple[str, str]:
    """Kind and name of the workload, as the event calls it."""
    label = inner(details, "workload")
    return text(label, "kind") or UNKNOWN_NAME, text(label, "name") or UNKNOWN_NAME


class Workloads:
    """All workloads of a node: by cgroup, since names may come a moment later. Bounded."""

    def __init__(self) -> None:
        self.by_key: dict[str, WorkloadRecord] = {}
        self.forgotten = 0
        """Small ones for which there was no room."""

    def of(self, fields: Fields, details: Fields, time_ns: int) -> WorkloadRecord:
        """The record of the workload that the event is about; made where it is new."""
        kind, name = label_of(details)
        cgroup = text(inner(inner(fields, "process"), "linux"), "cgroup")
        key = f"{kind}\n{name}" if cgroup is None or kind == "kernel" else cgroup
        record = self.by_key.get(key)
        if record is None:
            record = WorkloadRecord(key, name, kind, cgroup, time_ns)
            self.by_key[key] = record
        elif time_ns >= record.last_ns:
            record.name, record.kind = name, kind
        return record

    def named(self, name: str) -> WorkloadRecord | None:
        """The largest of that name; events of refusals know culprits by name only."""
        found = (record for record in self.by_key.values() if record.name == name)
        return max(found, key=lambda record: record.weight, default=None)

    def make_room(self) -> list[str]:
        """Forget the smaller half when there are too many; the keys that are gone."""
        if len(self.by_key) <= _MAX_WORKLOADS:
            return []
        ranked = sorted(self.by_key.values(), key=lambda record: record.weight)
        gone = [record.key for record in ranked[: len(ranked) // 2]]
        for key in gone:
            del self.by_key[key]
        self.forgotten += len(gone)
        return gone
