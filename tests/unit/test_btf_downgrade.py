"""Type information for an older libbpf: other kinds, the same layout."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from threadtrace.probe.btf import KERNEL_BTF
from threadtrace.probe.btf_downgrade import downgraded


def image(*records: bytes) -> bytes:
    types = b"".join(records)
    return struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), 1) + types + b"\0"


def record(kind: int, entries: int = 0, rest: int = 0) -> bytes:
    return struct.pack("=III", 7, kind << 24 | entries, 8) + bytes(range(rest))


def kinds(data: bytes, *sizes: int) -> list[int]:
    found, position = [], 24
    for size in sizes:
        found.append(data[position + 7] & 0x1F)
        position += size
    return found


def test_newer_kinds_become_older_ones_of_the_same_size() -> None:
    data = image(record(4, 2, 24), record(17, 0, 4), record(18), record(19, 3, 36), record(1, 0, 4))
    result = downgraded(data)
    assert len(result) == len(data)
    assert kinds(result, 36, 16, 12, 48, 16) == [4, 14, 10, 5, 1]


def test_everything_else_stays_as_it_is() -> None:
    data = image(record(4, 1, 12), record(13, 2, 16), record(3, 0, 12), record(2), record(16))
    assert downgraded(data) == data


def test_a_kind_from_the_future_is_refused() -> None:
    with pytest.raises(ValueError, match="kind 20"):
        downgraded(image(record(20)))


@pytest.mark.parametrize("data", [b"", b"\x9f\xeb", b"\0" * 64])
def test_what_is_no_btf_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not BTF"):
        downgraded(data)


def test_the_running_kernels_own() -> None:
    path = Path(KERNEL_BTF)
    if not path.exists():
        pytest.skip("this kernel has no BTF: boot one with CONFIG_DEBUG_INFO_BTF=y")
    data = path.read_bytes()
    result = downgraded(data)
    assert len(result) == len(data)
    assert downgraded(result) == result
