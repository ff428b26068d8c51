"""Kernel type information for a libbpf that is older than the kernel.

Ubuntu 22.04's libbpf 0.5 refuses a file that holds a kind of type it does not know. threadtrace
asks for members of structs only, so each newer kind may become an older one of the same size
(layout: ``include/uapi/linux/btf.h``).
"""

from __future__ import annotations

import struct

_HEADER = struct.Struct("=HBBIIIII")  # magic, version, flags, sizes and offsets of both sections
_RECORD = struct.Struct("=III")
_MAGIC = 0xEB9F

_INT, _ARRAY, _STRUCT, _UNION, _ENUM, _CONST = 1, 3, 4, 5, 6, 10
_FUNC_PROTO, _VAR, _DATASEC, _DECL_TAG, _TYPE_TAG, _ENUM64 = 13, 14, 15, 17, 18, 19
_LAST_KIND = _ENUM64

_REPLACEMENTS = {_DECL_TAG: _VAR, _TYPE_TAG: _CONST, _ENUM64: _UNION}
# What follows a record: so many bytes, and so many for each of its entries.
_FIXED_BYTES = {_INT: 4, _ARRAY: 12, _VAR: 4, _DECL_TAG: 4}
_ENTRY_BYTES = {_STRUCT: 12, _UNION: 12, _ENUM: 8, _FUNC_PROTO: 8, _DATASEC: 12, _ENUM64: 12}


def downgraded(data: bytes) -> bytes:
    """A copy in which each kind that came after kernel 5.13 is an older one of the same size.

    Raises:
        ValueError: not type information, or of a kind that this version does not know either.
    """
    if len(data) < _HEADER.size or _HEADER.unpack_from(data)[0] != _MAGIC:
        raise ValueError("not BTF of this machine's byte order")
    _, _, _, header_bytes, types_offset, types_bytes, _, _ = _HEADER.unpack_from(data)
    result = bytearray(data)
    position = header_bytes + types_offset
    end = min(position + types_bytes, len(data))
    while position + _RECORD.size <= end:
        name, info, size = _RECORD.unpack_from(data, position)
        kind = info >> 24 & 0x1F
        if kind > _LAST_KIND:
            raise ValueError(f"BTF kind {kind} is not known")
        if kind in _REPLACEMENTS:
            info = info & ~(0x1F << 24) | _REPLACEMENTS[kind] << 24
            _RECORD.pack_into(result, position, name, info, size)
        entries = _ENTRY_BYTES.get(kind, 0) * (info & 0xFFFF)
        position += _RECORD.size + _FIXED_BYTES.get(kind, 0) + entries
    return bytes(result)
