"""What the kernel itself tells of BPF programs and maps: bpf(2), include/uapi/linux/bpf.h."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass

_BPF_ENABLE_STATS = 32
_BPF_STATS_RUN_TIME = 0
_SYSTEM_CALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280}
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class ProgramStats:
    run_time_ns: int
    run_count: int

    def per_run(self, before: ProgramStats) -> float | None:
        """Nanoseconds of each run since then; None if there was none."""
        runs = self.run_count - before.run_count
        return (self.run_time_ns - before.run_time_ns) / runs if runs else None


@contextlib.contextmanager
def run_time_stats() -> Iterator[None]:
    """The kernel times every program while this lasts; it stops with the descriptor."""
    attributes = (ctypes.c_uint32 * 16)(_BPF_STATS_RUN_TIME)
    fd = _libc.syscall(
        _SYSTEM_CALL[platform.machine()],
        _BPF_ENABLE_STATS,
        ctypes.byref(attributes),
        ctypes.sizeof(attributes),
    )
    if fd < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"BPF_ENABLE_STATS: {os.strerror(code)}")
    try:
        yield
    finally:
        os.close(fd)


def fdinfo(pid: int) -> list[dict[str, str]]:
    """The fields of each descriptor of a process that is a BPF program, map or link."""
    found = []
    directory = f"/proc/{pid}/fdinfo"
    for name in os.listdir(directory):
        try:
            with open(f"{directory}/{name}", encoding="ascii", errors="replace") as file:
                fields = dict(line.split(":", 1) for line in file if ":" in line)
        except OSError:
            continue
        if {"prog_id", "map_id"} & fields.keys():
            found.append({key: value.strip() for key, value in fields.items()})
    return found


def maps(pid: int) -> dict[str, int]:
    """Bytes of each map that a process holds, by its shape."""
    return {
        f"type {fields['map_type']}, {fields['max_entries']} entries of "
        f"{fields['key_size']} + {fields['value_size']} bytes": int(fields["memlock"])
        for fields in fdinfo(pid)
        if "map_id" in fields and "memlock" in fields
    }
