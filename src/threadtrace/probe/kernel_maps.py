"""Maps made by the system call, and what the kernel tells of one: libbpf's calls differ by version.

``union bpf_attr`` and ``struct bpf_map_info`` of ``include/uapi/linux/bpf.h``.
"""

from __future__ import annotations

import ctypes

from threadtrace.probe.compiled import MapShape
from threadtrace.probe.kernel import bpf_call

_BPF_MAP_CREATE, _BPF_OBJ_GET_INFO_BY_FD = 0, 15
_NAME_BYTES = 16


class _MapCreate(ctypes.Structure):
    _fields_ = [
        ("map_type", ctypes.c_uint32),
        ("key_size", ctypes.c_uint32),
        ("value_size", ctypes.c_uint32),
        ("max_entries", ctypes.c_uint32),
        ("map_flags", ctypes.c_uint32),
        ("inner_map_fd", ctypes.c_uint32),
        ("numa_node", ctypes.c_uint32),
        ("map_name", ctypes.c_char * _NAME_BYTES),
    ]


class _GetInfo(ctypes.Structure):
    _fields_ = [
        ("bpf_fd", ctypes.c_uint32),
        ("info_len", ctypes.c_uint32),
        ("info", ctypes.c_uint64),
    ]


class _MapInfo(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_uint32),
        ("id", ctypes.c_uint32),
        ("key_size", ctypes.c_uint32),
        ("value_size", ctypes.c_uint32),
        ("max_entries", ctypes.c_uint32),
        ("map_flags", ctypes.c_uint32),
        ("name", ctypes.c_char * _NAME_BYTES),
    ]


def create_map(shape: MapShape) -> int:
    """Make a map; its descriptor.

    Raises:
        OSError: the kernel refuses it.
    """
    return bpf_call(
        _BPF_MAP_CREATE,
        _MapCreate(
            map_type=shape.kind,
            key_size=shape.key_bytes,
            value_size=shape.value_bytes,
            max_entries=shape.max_entries,
            map_flags=shape.flags,
            map_name=shape.name.encode()[: _NAME_BYTES - 1],
        ),
    )


def shape_of(fd: int) -> MapShape:
    """What that map was made from.

    Raises:
        OSError: the descriptor is no map's.
    """
    info = _MapInfo()
    bpf_call(
        _BPF_OBJ_GET_INFO_BY_FD,
        _GetInfo(bpf_fd=fd, info_len=ctypes.sizeof(info), info=ctypes.addressof(info)),
    )
    return MapShape(
        info.name.decode(),
        info.type,
        info.key_size,
        info.value_size,
        info.max_entries,
        info.map_flags,
    )
