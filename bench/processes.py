"""What /proc tells of one process."""

from __future__ import annotations

import os

_TICKS = os.sysconf("SC_CLK_TCK")
_KIB = 1024


def resident_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
        for line in status:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * _KIB
    raise ProcessLookupError(pid)


def cpu_seconds(pid: int) -> float:
    """User and system time so far, in steps of a clock tick (10 ms)."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def megabytes(count: float) -> float:
    return count / 1e6
