"""The shapes of ``bpf/records.h``, decoded. Pure: bytes in, values out."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from threadtrace import text

KERNEL_CGROUP_ID = 0
"""The pseudo cgroup of the kernel's own threads."""

CGROUP_KEY = struct.Struct("=Q")
CGROUP_COUNTS = struct.Struct("=4Q")
REFUSAL_KEY = struct.Struct("=QQIHH")
REFUSAL_COUNTS = struct.Struct("=4Q")
PROCESS_KEY = struct.Struct("=QI4x")
PROCESS_COUNTS = struct.Struct("=5Q16s")
NODE_COUNTER = struct.Struct("=Q")
NODE_LIMIT = struct.Struct("=Q")
REFUSAL_RECORD = struct.Struct("=IIQ24sQqqIIII16s")
BURST_RECORD = struct.Struct("=IIQQQ")
BURST = struct.Struct("=3QQqqQqqI4x")
_CGROUP_RECORD_HEAD = struct.Struct("=IIQQ")
_RECORD_KIND = struct.Struct("=I")
_CLONE_REFUSED = 4
_BIRTHS_CROSSED = 5


class NodeCounter(IntEnum):
    """Indices of the ``node`` map: ``enum node_counter``."""

    MOVES = 0
    LOST_CGROUP_COUNTS = 1
    LOST_REFUSAL_COUNTS = 2
    LOST_PROCESS_COUNTS = 3
    LOST_CGROUP_RECORDS = 4
    LOST_REFUSAL_RECORDS = 5
    CLONES = 6
    CLONES_RETURNED = 7
    LOST_BURST_RECORDS = 8
    CAUGHT = 9


class NodeLimit(IntEnum):
    """Indices of the ``node_limits`` map: ``enum node_limit``."""

    THREADS_MAX = 0
    PID_MAX = 1


class Limit(IntEnum):
    """``enum refusal_limit``: which limit refused a clone, in the kernel's order of checks."""

    OTHER = 0
    RLIMIT_NPROC = 1
    THREADS_MAX = 2
    NAMESPACE = 3
    PID_MAX = 4
    PIDS_MAX = 5
    MEMORY = 6


class Evidence(IntEnum):
    """``enum refusal_evidence``: how that is known."""

    INFERRED = 0
    KERNEL_STAGE = 1


class Refused(IntEnum):
    """``enum refused_kind``: what would have been created."""

    UNKNOWN = 0
    THREAD = 1
    PROCESS = 2


class CgroupChange(IntEnum):
    """Those of ``enum record_kind`` that tell of a cgroup."""

    CREATED = 1
    REMOVED = 2
    RENAMED = 3


class Counts(NamedTuple):
    """``struct cgroup_counts``: tasks born and gone since the programs were attached."""

    threads_created: int
    processes_created: int
    threads_exited: int
    processes_exited: int


ProcessKey = tuple[int, int]
"""``struct process_key``: a cgroup's id, and the PID of a process whose children are born there."""


class ProcessCounts(NamedTuple):
    """``struct process_counts``."""

    start_boottime_ns: int
    threads_created: int
    processes_created: int
    refused: int
    exited_ns: int
    """Monotonic; 0 while the process lives."""
    name: bytes


class RefusalKey(NamedTuple):
    """``struct refusal_key``."""

    cgroup_id: int
    """Of who asked."""
    owner: int
    """Of the limit, see ``bpf/records.h``."""
    error: int
    limit: int
    """A ``Limit``."""
    evidence: int
    """An ``Evidence``."""


class RefusalCounts(NamedTuple):
    """``struct refusal_counts``; times are monotonic."""

    refused: int
    first_ns: int
    last_ns: int
    told_ns: int


@dataclass(frozen=True, slots=True)
class RefusalRecord:
    """``struct refusal_record``: a clone was refused."""

    timestamp_ns: int
    """Monotonic."""
    key: RefusalKey
    count: int
    """Refusals of that key so far."""
    usage: int | None
    """Of the limit, in that instant."""
    limit_value: int | None
    tgid: int
    """Of who asked, in the initial PID namespace, like ``tid``."""
    tid: int
    refused: Refused
    reached: frozenset[Limit]
    """All limits that were reached in that instant."""
    pid_namespace_level: int
    thread_name: str


class HiddenLimit(NamedTuple):
    """``struct hidden_limit``: what only the kernel knows, as the last births found it."""

    owner: int
    """As in ``RefusalKey``."""
    usage: int
    limit_value: int


class HiddenLimits(NamedTuple):
    """Of those who create in a cgroup: the part of ``struct burst`` that the agent reads."""

    user: HiddenLimit | None
    """RLIMIT_NPROC; None where they are held to none."""
    pid_namespace: HiddenLimit | None
    """The pid_max with least room; None where namespaces have none of their own."""
    pid_namespace_level: int
    window_ns: int
    """When they were read, to a tenth of a second; monotonic."""


@dataclass(frozen=True, slots=True)
class BurstRecord:
    """``struct burst_record``: many births in one cgroup within a tenth of a second."""

    timestamp_ns: int
    """Monotonic, like ``window_ns``."""
    cgroup_id: int
    window_ns: int
    """When the window in which they were counted began."""
    tgid: int
    """Of who created the last one, in the initial PID namespace."""


@dataclass(frozen=True, slots=True)
class CgroupRecord:
    """``struct cgroup_record``: a cgroup of the pids hierarchy came, went or was renamed."""

    change: CgroupChange
    timestamp_ns: int
    """Monotonic."""
    cgroup_id: int
    path: str
    """From the hierarchy's root, as a file name; "" of one that went, or that cannot be told."""


Record = CgroupRecord | RefusalRecord | BurstRecord
"""Whatever the ring holds."""


def decode_record(data: bytes) -> Record:
    """Decode one record of the ring.

    Raises:
        ValueError: too short, or of a kind that this version does not know.
    """
    if len(data) < _RECORD_KIND.size:
        raise ValueError(f"a record of {len(data)} bytes is too short")
    kind = _RECORD_KIND.unpack_from(data)[0]
    if kind == _CLONE_REFUSED:
        return _decode_refusal_record(data)
    if kind == _BIRTHS_CROSSED:
        return _decode_burst_record(data)
    return _decode_cgroup_record(data)


def _decode_refusal_record(data: bytes) -> RefusalRecord:
    if len(data) < REFUSAL_RECORD.size:
        raise ValueError(f"a refusal record of {len(data)} bytes is too short")
    _, tgid, time_ns, key, count, usage, limit_value, tid, refused, reached, level, name = (
        REFUSAL_RECORD.unpack_from(data)
    )
    return RefusalRecord(
        timestamp_ns=time_ns,
        key=RefusalKey(*REFUSAL_KEY.unpack(key)),
        count=count,
        usage=None if usage < 0 else usage,
        limit_value=None if limit_value < 0 else limit_value,
        tgid=tgid,
        tid=tid,
        refused=Refused(refused),
        reached=frozenset(limit for limit in Limit if reached >> limit & 1),
        pid_namespace_level=level,
        thread_name=decode_name(name),
    )


def _decode_burst_record(data: bytes) -> BurstRecord:
    if len(data) < BURST_RECORD.size:
        raise ValueError(f"a burst record of {len(data)} bytes is too short")
    _, tgid, time_ns, cgroup_id, window_ns = BURST_RECORD.unpack_from(data)
    return BurstRecord(time_ns, cgroup_id, window_ns, tgid)


def decode_hidden_limits(data: bytes) -> HiddenLimits:
    """The limits in a ``struct burst``."""
    window_ns, _, _, *limits, level = BURST.unpack(data)
    user, namespace = HiddenLimit(*limits[:3]), HiddenLimit(*limits[3:])
    return HiddenLimits(
        user if user.limit_value else None,
        namespace if namespace.limit_value else None,
        level,
        window_ns,
    )


def _decode_cgroup_record(data: bytes) -> CgroupRecord:
    if len(data) < _CGROUP_RECORD_HEAD.size:
        raise ValueError(f"a cgroup record of {len(data)} bytes is too short")
    kind, size, timestamp_ns, cgroup_id = _CGROUP_RECORD_HEAD.unpack_from(data)
    raw = data[_CGROUP_RECORD_HEAD.size :][:size].partition(b"\0")[0]
    return CgroupRecord(CgroupChange(kind), timestamp_ns, cgroup_id, os.fsdecode(raw))


def decode_name(raw: bytes) -> str:
    """A kernel task name: 16 bytes, NUL-terminated, of any content."""
    return text.decode(raw.partition(b"\0")[0])
