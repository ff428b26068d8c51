"""What the kernel itself tells: all births since the boot, BPF objects and who holds them."""

from __future__ import annotations

import ctypes
import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

# include/uapi/linux/bpf.h
_PROG_GET_NEXT_ID = 11
_PROG_GET_FD_BY_ID, _MAP_GET_FD_BY_ID, _OBJ_GET_INFO_BY_FD = 13, 14, 15
_SYSTEM_CALLS = {"x86_64": 321, "aarch64": 280, "riscv64": 280}
_INFO_BYTES = 256
# Offsets in struct bpf_prog_info.
_PROGRAM_TAG, _MAP_COUNT, _MAP_IDS, _PROGRAM_NAME = 8, 52, 56, 64
_MAX_MAPS_OF_A_PROGRAM = 64  # as many as a program may use
_MAP_NAME, _MAP_EXTRA = 24, 80  # the same in struct bpf_map_info
_NAME_BYTES = 16

# As the kernel keeps them: 15 bytes.
PROGRAM_NAMES = {
    "on_task_newtask",
    "on_sched_proces",
    "recheck_newtask",
    "recheck_exit",
    "settle_newtask",
    "settle_exit",
    "on_cgroup_mkdir",
    "on_cgroup_rmdir",
    "on_cgroup_renam",
    "on_cgroup_attac",
    "on_clone_exit",
    "on_copy_process_exit",
    "on_alloc_pid_exit",
    "on_cgroup_can_fork_exit",
}

_libc = ctypes.CDLL(None, use_errno=True)


def total_births() -> int:
    """Processes and threads that the kernel made since the boot: ``total_forks``, kernel/fork.c."""
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith("processes "):
            return int(line.split()[1])
    raise AssertionError("/proc/stat tells no number of processes")


def skips_programs_of_perf_events() -> bool:
    """Whether the kernel is preemptible by default, as x86's and arm64's are since 7.0.

    There it skips kretprobes' and tracepoints' programs while anyone's call on a map was preempted
    on that CPU (bpf_disable_instrumentation, include/linux/bpf.h), and counts that as skipped runs.
    """
    return int(platform.release().partition(".")[0]) >= 7


class _Program(NamedTuple):
    id: int
    name: str


def orphans() -> set[str]:
    """Programs of ours that no process holds: nobody would ever detach them."""
    ours = [entry for entry in _programs() if entry.name in PROGRAM_NAMES]
    held = held_ids("prog_id")
    return {f"program {entry.id} {entry.name}" for entry in ours if entry.id not in held}


def held_ids(kind: str, pids: set[int] | None = None) -> set[int]:
    """The ids in ``/proc/PID/fdinfo``: prog_id, map_id or link_id; of all processes or these."""
    found = set()
    pattern = re.compile(rf"^{kind}:\s*(\d+)$", re.MULTILINE)
    for directory in Path("/proc").glob("[0-9]*/fdinfo"):
        if pids is not None and int(directory.parent.name) not in pids:
            continue
        try:
            for entry in os.scandir(directory):
                target = os.readlink(directory.parent / "fd" / entry.name)
                if target.startswith("anon_inode:"):
                    found.update(map(int, pattern.findall(Path(entry.path).read_text())))
        except OSError:  # ended meanwhile
            continue
    return found


def existing(program_ids: set[int], map_ids: set[int]) -> tuple[set[int], set[int]]:
    """Those programs and maps that the kernel still has."""
    return (
        {number for number in program_ids if _exists(_PROG_GET_FD_BY_ID, number)},
        {number for number in map_ids if _exists(_MAP_GET_FD_BY_ID, number)},
    )


class Loaded(NamedTuple):
    """What a process has in the kernel, apart from ids: each begins with a name of 15 bytes."""

    programs: set[tuple[str, bytes]]
    """With the kernel's digest of the instructions, in which maps do not count."""
    maps: set[tuple[str, bytes]]
    """With type, sizes, entries and flags, those that only programs hold included."""


def loaded_by(pid: int) -> Loaded:
    """Programs that a process holds by descriptor, and all maps of these."""
    programs, map_ids = set(), held_ids("map_id", {pid})
    for number in held_ids("prog_id", {pid}):
        info, used = _program_info(number)
        name = info[_PROGRAM_NAME : _PROGRAM_NAME + _NAME_BYTES].rstrip(b"\0")
        programs.add((name.decode(), info[_PROGRAM_TAG : _PROGRAM_TAG + 8]))
        map_ids |= used
    maps = set()
    for number in map_ids:
        with _by_id(_MAP_GET_FD_BY_ID, number) as fd:
            info = _info(fd)
        name = info[_MAP_NAME : _MAP_NAME + _NAME_BYTES].rstrip(b"\0").decode()
        # Of what follows the name, types are bcc's gift to bpftool, and map_extra is last.
        maps.add((name, info[:4] + info[8:_MAP_NAME] + info[_MAP_EXTRA : _MAP_EXTRA + 8]))
    return Loaded(programs, maps)


def _program_info(number: int) -> tuple[bytes, set[int]]:
    ids = (ctypes.c_uint32 * _MAX_MAPS_OF_A_PROGRAM)()
    wanted = bytearray(_INFO_BYTES)
    wanted[_MAP_COUNT : _MAP_COUNT + 4] = len(ids).to_bytes(4, "little")
    wanted[_MAP_IDS : _MAP_IDS + 8] = ctypes.addressof(ids).to_bytes(8, "little")
    with _by_id(_PROG_GET_FD_BY_ID, number) as fd:
        info = _info(fd, bytes(wanted))
    return info, set(ids[: int.from_bytes(info[_MAP_COUNT : _MAP_COUNT + 4], "little")])


@contextmanager
def _by_id(command: int, number: int) -> Iterator[int]:
    fd = _bpf(command, number.to_bytes(4, "little") + bytes(8))
    try:
        yield fd
    finally:
        os.close(fd)


def _programs() -> Iterator[_Program]:
    number = 0
    while True:
        following = _next_id(_PROG_GET_NEXT_ID, number)
        if following is None:
            return
        number = following
        try:
            fd = _bpf(_PROG_GET_FD_BY_ID, number.to_bytes(4, "little") + bytes(8))
        except FileNotFoundError:
            continue
        try:
            info = _info(fd)
        finally:
            os.close(fd)
        name = info[_PROGRAM_NAME : _PROGRAM_NAME + _NAME_BYTES].partition(b"\0")[0]
        yield _Program(number, name.decode())


def _info(fd: int, wanted: bytes = bytes(_INFO_BYTES)) -> bytes:
    info = ctypes.create_string_buffer(wanted, _INFO_BYTES)
    request = fd.to_bytes(4, "little") + _INFO_BYTES.to_bytes(4, "little")
    _bpf(_OBJ_GET_INFO_BY_FD, request + ctypes.addressof(info).to_bytes(8, "little"))
    return info.raw


def _next_id(command: int, number: int) -> int | None:
    request = ctypes.create_string_buffer(number.to_bytes(4, "little") + bytes(8), 12)
    try:
        _call(command, request)
    except FileNotFoundError:
        return None
    return int.from_bytes(request.raw[4:8], "little")


def _exists(command: int, number: int) -> bool:
    try:
        fd = _bpf(command, number.to_bytes(4, "little") + bytes(8))
    except FileNotFoundError:
        return False
    os.close(fd)
    return True


def _bpf(command: int, request: bytes) -> int:
    return _call(command, ctypes.create_string_buffer(request, len(request)))


def _call(command: int, request: ctypes.Array[ctypes.c_char]) -> int:
    result = _libc.syscall(_SYSTEM_CALLS[platform.machine()], command, request, len(request))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(result)
