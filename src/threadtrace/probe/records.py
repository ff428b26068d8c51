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
REFUSAL_KEY = struct.Struct("=QI4x")
REFUSAL_COUNT = struct.Struct("=Q")
PROCESS_KEY = struct.Struct("=QI4x")
PROCESS_COUNTS = struct.Struct("=5Q16s")
NODE_COUNTER = struct.Struct("=Q")
_CGROUP_RECORD_HEAD = struct.Struct("=IIQQ")


class NodeCounter(IntEnum):
    """Indices of the ``node`` map: ``enum node_counter``."""

    MOVES = 0
    LOST_CGROUP_COUNTS = 1
    LOST_REFUSAL_COUNTS = 2
    LOST_PROCESS_COUNTS = 3
    LOST_CGROUP_RECORDS = 4


class CgroupChange(IntEnum):
    """``enum cgroup_record_kind``."""

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


@dataclass(frozen=True, slots=True)
class CgroupRecord:
    """``struct cgroup_record``: a cgroup of the pids hierarchy came, went or was renamed."""

    change: CgroupChange
    timestamp_ns: int
    """Monotonic."""
    cgroup_id: int
    path: str
    """From the hierarchy's root, as a file name; "" where the kernel could not tell."""


def decode_cgroup_record(data: bytes) -> CgroupRecord:
    """Decode one record of the ring.

    Raises:
        ValueError: too short, or of a kind that this version does not know.
    """
    if len(data) < _CGROUP_RECORD_HEAD.size:
        raise ValueError(f"a cgroup record of {len(data)} bytes is too short")
    kind, size, timestamp_ns, cgroup_id = _CGROUP_RECORD_HEAD.unpack_from(data)
    raw = data[_CGROUP_RECORD_HEAD.size :][:size].partition(b"\0")[0]
    return CgroupRecord(CgroupChange(kind), timestamp_ns, cgroup_id, os.fsdecode(raw))


def decode_name(raw: bytes) -> str:
    """A kernel task name: 16 bytes, NUL-terminated, of any content."""
    return text.decode(raw.partition(b"\0")[0])
