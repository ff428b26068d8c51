"""BPF programs of the whole system, by id: bpf_prog_get_next_id and bpf_obj_get_info_by_fd."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator

from bench.bpf import ProgramStats
from threadtrace.probe.libbpf import load_libbpf


class _ProgramInfo(ctypes.Structure):
    """``struct bpf_prog_info`` up to run_cnt (kernel 5.1)."""

    _fields_ = [
        ("type", ctypes.c_uint32),
        ("id", ctypes.c_uint32),
        ("tag", ctypes.c_uint8 * 8),
        ("lengths", ctypes.c_uint32 * 2),
        ("instructions", ctypes.c_uint64 * 2),
        ("load_time", ctypes.c_uint64),
        ("created_by_uid", ctypes.c_uint32),
        ("nr_map_ids", ctypes.c_uint32),
        ("map_ids", ctypes.c_uint64),
        ("name", ctypes.c_char * 16),
        ("ifindex", ctypes.c_uint32),
        ("bits", ctypes.c_uint32),
        ("netns", ctypes.c_uint64 * 2),
        ("nr_jited", ctypes.c_uint32 * 2),
        ("jited", ctypes.c_uint64 * 2),
        ("btf_id", ctypes.c_uint32),
        ("func_info_rec_size", ctypes.c_uint32),
        ("func_info", ctypes.c_uint64),
        ("nr_func_info", ctypes.c_uint32),
        ("nr_line_info", ctypes.c_uint32),
        ("line_info", ctypes.c_uint64 * 2),
        ("nr_jited_line_info", ctypes.c_uint32),
        ("line_info_rec_sizes", ctypes.c_uint32 * 2),
        ("nr_prog_tags", ctypes.c_uint32),
        ("prog_tags", ctypes.c_uint64),
        ("run_time_ns", ctypes.c_uint64),
        ("run_cnt", ctypes.c_uint64),
    ]


def program_ids() -> Iterator[int]:
    """Ids of all programs that are loaded."""
    following = ctypes.c_uint32(0)
    while not load_libbpf().bpf_prog_get_next_id(following, ctypes.byref(following)):
        yield following.value


def ids_named(name: str) -> set[int]:
    """Ids of the programs with that name, whoever loaded them."""
    found = {number: program(number) for number in program_ids()}
    return {number for number, known in found.items() if known and known[0] == name[:15]}


def program(program_id: int) -> tuple[str, ProgramStats] | None:
    """Name and statistics of a program; None once it is gone."""
    lib = load_libbpf()
    fd = lib.bpf_prog_get_fd_by_id(program_id)
    if fd < 0:
        return None
    try:
        info = _ProgramInfo()
        size = ctypes.c_uint32(ctypes.sizeof(info))
        if lib.bpf_obj_get_info_by_fd(fd, ctypes.byref(info), ctypes.byref(size)):
            return None
        return info.name.decode(), ProgramStats(info.run_time_ns, info.run_cnt)
    finally:
        os.close(fd)
