"""Where counts come from: the seam between the kernel and the rest."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Protocol

from threadtrace.probe.loader import LoadedPrograms
from threadtrace.probe.maps import MapReader
from threadtrace.probe.records import (
    BURST,
    CGROUP_COUNTS,
    CGROUP_KEY,
    NODE_COUNTER,
    NODE_LIMIT,
    PROCESS_COUNTS,
    PROCESS_KEY,
    REFUSAL_COUNTS,
    REFUSAL_KEY,
    Counts,
    HiddenLimits,
    NodeCounter,
    NodeLimit,
    ProcessCounts,
    ProcessKey,
    Record,
    RefusalCounts,
    RefusalKey,
    decode_hidden_limits,
    decode_record,
)
from threadtrace.probe.ring import Ring
from threadtrace.probe.skipped import (
    RECHECKING,
    ReturnProbes,
    Runs,
    SkippedRuns,
    skipped_runs,
)

_COUNT_FIELDS = len(Counts._fields)
# Counts._make without its check: at 10,000 cgroups the difference is 3 ms a tick.
_AS_COUNTS = partial(tuple.__new__, Counts)
_AS_PROCESS_COUNTS = partial(tuple.__new__, ProcessCounts)


@dataclass(frozen=True, slots=True)
class Counters:
    """Everything the kernel counted since the programs were attached, read in one go."""

    cgroups: dict[int, Counts]
    unattributed: Counts
    """What found the map of cgroups full."""
    refusals: dict[RefusalKey, RefusalCounts]
    processes: dict[ProcessKey, ProcessCounts]
    moves: int
    """Tasks moved between cgroups."""
    lost: dict[str, int]
    """Events not counted where they belong, by place."""


class CounterSource(Protocol):
    """Something that counts: the live kernel, or a recording."""

    def fileno(self) -> int:
        """A descriptor that is readable while records wait."""

    def read_records(self) -> list[Record]:
        """What the kernel told of at once since the last call, oldest first."""

    def read_counters(self) -> Counters:
        """All counters, cumulative."""

    def read_cgroup(self, cgroup_id: int) -> Counts | None:
        """The counters of one cgroup, cumulative; None where nothing was counted in it."""

    def read_hidden_limits(self, cgroup_id: int) -> HiddenLimits | None:
        """Limits that bind who creates in a cgroup; None where too little was born there."""

    def forget_cgroup(self, cgroup_id: int, refusals: list[RefusalKey]) -> None:
        """Drop the counters of a cgroup that is gone, those of its refusals too."""

    def forget_process(self, key: ProcessKey) -> None:
        """Drop the counters of a process that is gone."""

    def tell_limit(self, limit: NodeLimit, value: int) -> None:
        """Let the programs know a limit of the node that the kernel hides from them."""

    def close(self) -> None:
        """Stop counting."""


_NO_COUNTS = Counts(0, 0, 0, 0)


class BlindSource:
    """Counts nothing: where no program can be attached, /proc and cgroup files still tell much."""

    def fileno(self) -> int:
        """None that could be waited for."""
        return -1

    def read_records(self) -> list[Record]:
        """None."""
        return []

    def read_counters(self) -> Counters:
        """Nothing was seen."""
        return Counters({}, _NO_COUNTS, {}, {}, 0, {})

    def read_cgroup(self, cgroup_id: int) -> Counts | None:
        """Nothing was seen."""

    def read_hidden_limits(self, cgroup_id: int) -> HiddenLimits | None:
        """Nothing was seen."""

    def forget_cgroup(self, cgroup_id: int, refusals: list[RefusalKey]) -> None:
        """Nothing is kept."""

    def forget_process(self, key: ProcessKey) -> None:
        """Nothing is kept."""

    def tell_limit(self, limit: NodeLimit, value: int) -> None:
        """Nobody listens."""

    def close(self) -> None:
        """Nothing is open."""


class LiveSource:
    """The programs that the loader attached."""

    def __init__(self, loaded: LoadedPrograms) -> None:
        self._loaded = loaded
        self._maps = loaded.maps
        self._reader = MapReader()
        self._ring = Ring(loaded.maps["records"])
        self._returns = ReturnProbes()
        self._has_return_probes = "on_copy_process_return" in loaded.programs
        self._skipped = SkippedRuns()
        self._per_cpu_counts = CGROUP_COUNTS.size * self._reader.cpu_count
        self._per_cpu_number = NODE_COUNTER.size * self._reader.cpu_count

    def fileno(self) -> int:
        """See CounterSource."""
        return self._ring.fileno()

    def read_records(self) -> list[Record]:
        """See CounterSource."""
        return [decode_record(data) for data in self._ring.take()]

    def read_counters(self) -> Counters:
        """See CounterSource.

        Raises:
            OSError: a map cannot be read.
        """
        runs = self._runs()
        node = [self._node_counter(index) for index in NodeCounter]
        lost = {
            "cgroups_map": node[NodeCounter.LOST_CGROUP_COUNTS],
            "refusals_map": node[NodeCounter.LOST_REFUSAL_COUNTS],
            "processes_map": node[NodeCounter.LOST_PROCESS_COUNTS],
            "records_ring": node[NodeCounter.LOST_CGROUP_RECORDS],
            "refusal_records": node[NodeCounter.LOST_REFUSAL_RECORDS],
            "burst_records": node[NodeCounter.LOST_BURST_RECORDS],
            **self._lost_runs(runs, node),
        }
        return Counters(
            cgroups=self._read_cgroups(),
            unattributed=self._read_unattributed(),
            refusals=self._read_refusals(),
            processes=self._read_processes(),
            moves=node[NodeCounter.MOVES],
            lost={where: count for where, count in lost.items() if count},
        )

    def read_cgroup(self, cgroup_id: int) -> Counts | None:
        """See CounterSource.

        Raises:
            OSError: the map cannot be read.
        """
        key = CGROUP_KEY.pack(cgroup_id)
        raw = self._reader.value(self._maps["cgroups"], key, self._per_cpu_counts)
        return None if raw is None else self._sum_over_cpus(raw)

    def read_hidden_limits(self, cgroup_id: int) -> HiddenLimits | None:
        """See CounterSource.

        Raises:
            OSError: the map cannot be read.
        """
        raw = self._reader.value(self._maps["bursts"], CGROUP_KEY.pack(cgroup_id), BURST.size)
        return None if raw is None else decode_hidden_limits(raw)

    def forget_cgroup(self, cgroup_id: int, refusals: list[RefusalKey]) -> None:
        """See CounterSource."""
        self._reader.delete(self._maps["cgroups"], CGROUP_KEY.pack(cgroup_id))
        for key in refusals:
            self._reader.delete(self._maps["refusals"], REFUSAL_KEY.pack(*key))

    def forget_process(self, key: ProcessKey) -> None:
        """See CounterSource."""
        self._reader.delete(self._maps["processes"], PROCESS_KEY.pack(*key))

    def tell_limit(self, limit: NodeLimit, value: int) -> None:
        """See CounterSource.

        Raises:
            OSError: the map cannot be written.
        """
        key = limit.to_bytes(4, "little")
        self._reader.update(self._maps["node_limits"], key, NODE_LIMIT.pack(value))

    def close(self) -> None:
        """Detach the programs."""
        self._ring.close()
        self._loaded.close()

    def _read_cgroups(self) -> dict[int, Counts]:
        counts: dict[int, Counts] = {}
        fd = self._maps["cgroups"]
        for keys, values in self._reader.entries(fd, CGROUP_KEY.size, self._per_cpu_counts):
            columns = self._reader.per_cpu_columns(values, _COUNT_FIELDS)
            counts.update(zip(memoryview(keys).cast("Q"), map(_AS_COUNTS, zip(*columns))))
        return counts

    def _read_unattributed(self) -> Counts:
        raw = self._reader.value(self._maps["unattributed"], b"\0\0\0\0", self._per_cpu_counts)
        assert raw is not None  # an array's entries always exist
        return self._sum_over_cpus(raw)

    def _sum_over_cpus(self, raw: bytes) -> Counts:
        columns = self._reader.per_cpu_columns(raw, _COUNT_FIELDS)
        return Counts._make(column[0] for column in columns)

    def _read_refusals(self) -> dict[RefusalKey, RefusalCounts]:
        found: dict[RefusalKey, RefusalCounts] = {}
        fd, size = self._maps["refusals"], REFUSAL_COUNTS.size
        for keys, values in self._reader.entries(fd, REFUSAL_KEY.size, size):
            decoded = map(RefusalCounts._make, REFUSAL_COUNTS.iter_unpack(values))
            found.update(zip(map(RefusalKey._make, REFUSAL_KEY.iter_unpack(keys)), decoded))
        return found

    def _read_processes(self) -> dict[ProcessKey, ProcessCounts]:
        found: dict[ProcessKey, ProcessCounts] = {}
        fd = self._maps["processes"]
        for keys, values in self._reader.entries(fd, PROCESS_KEY.size, PROCESS_COUNTS.size):
            decoded = map(_AS_PROCESS_COUNTS, PROCESS_COUNTS.iter_unpack(values))
            found.update(zip(PROCESS_KEY.iter_unpack(keys), decoded))
        return found

    def _node_counter(self, index: NodeCounter) -> int:
        key = index.to_bytes(4, "little")
        raw = self._reader.value(self._maps["node"], key, self._per_cpu_number)
        assert raw is not None
        return self._reader.per_cpu_sum(raw)

    def _runs(self) -> Runs:
        """To be read before the counters that they are compared with."""
        skipped = {name: skipped_runs(fd) for name, fd in self._loaded.programs.items()}
        return Runs(skipped, self._node_counter(NodeCounter.CLONES_RETURNED))

    def _lost_runs(self, runs: Runs, node: list[int]) -> dict[str, int]:
        clones, returned = node[NodeCounter.CLONES], node[NodeCounter.CLONES_RETURNED]
        if runs.skipped.keys() >= RECHECKING:
            lost = self._skipped.lost(runs, node[NodeCounter.CAUGHT], clones)
        else:
            lost = sum(runs.skipped.values())
        by_probes = self._returns.missed(clones, returned) if self._has_return_probes else 0
        return {"kernel_programs": lost, "return_probes": by_probes}
