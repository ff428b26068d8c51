"""Compiled programs apart from the process that compiled them: instructions, and maps they use.

What the compiler hands out holds descriptors of maps, which mean something in that one process
only. Here each stands for a place in a list of maps, so that the same instructions can be loaded by
another process with maps of its own.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

FORMAT = 1
"""Goes up with every change of what is written, or of how it is made from what bcc compiled."""

INSTRUCTION = struct.Struct("<BBhi")
"""struct bpf_insn (include/uapi/linux/bpf.h): opcode, registers, offset, immediate.

The destination is in the lower half of the registers, as on every machine that is supported."""
_IMMEDIATE = struct.Struct("<i")
_IMMEDIATE_OFFSET = 4
_LOAD_64_BITS = 0x18  # BPF_LD | BPF_IMM | BPF_DW, two instructions long
_CONSTANT, _MAP_DESCRIPTOR = 0, 1  # its source register: a number, BPF_PSEUDO_MAP_FD


class MapShape(NamedTuple):
    """What a map is created from."""

    name: str
    """As the kernel keeps it: 15 bytes."""
    kind: int
    """enum bpf_map_type"""
    key_bytes: int
    value_bytes: int
    max_entries: int
    flags: int


class Compiled(NamedTuple):
    """Programs whose references to maps are positions in ``maps``."""

    programs: dict[str, bytes]
    maps: tuple[MapShape, ...]


class Maker(NamedTuple):
    """A file that took part in compiling, as it was then: None of both where it is not there."""

    path: str
    size_bytes: int | None
    modified_ns: int | None


class Text(NamedTuple):
    """What was decoded."""

    compiled: Compiled
    makers: tuple[Maker, ...]


def map_references(code: bytes) -> Iterator[tuple[int, int]]:
    """Where a program names maps, as (byte offset of the number, the number).

    Raises:
        ValueError: it refers to something else that only this process knows, or is cut off.
    """
    if len(code) % INSTRUCTION.size:
        raise ValueError("half an instruction")
    position = 0
    while position < len(code):
        opcode, registers, _, immediate = INSTRUCTION.unpack_from(code, position)
        if opcode != _LOAD_64_BITS:
            position += INSTRUCTION.size
            continue
        source = registers >> 4
        if source == _MAP_DESCRIPTOR:
            yield position + _IMMEDIATE_OFFSET, immediate
        elif source != _CONSTANT:
            raise ValueError(f"a reference of kind {source}")
        position += 2 * INSTRUCTION.size


def without_descriptors(programs: Mapping[str, bytes], maps: Mapping[int, MapShape]) -> Compiled:
    """Programs that can be kept.

    Args:
        programs: instructions by name, with descriptors of maps.
        maps: all maps by descriptor, those that no program refers to, too.

    Raises:
        ValueError: a program refers to something that is not among ``maps``.
    """
    places = {fd: place for place, fd in enumerate(maps)}
    return Compiled(
        {name: _renumbered(code, places) for name, code in programs.items()}, tuple(maps.values())
    )


def with_descriptors(compiled: Compiled, descriptors: Sequence[int]) -> dict[str, bytes]:
    """Programs that can be loaded: instructions by name.

    Args:
        compiled: what was kept.
        descriptors: of maps that were made as ``compiled.maps`` says, in that order.

    Raises:
        ValueError: a program refers to a map that is not there.
    """
    numbers = dict(enumerate(descriptors))
    return {name: _renumbered(code, numbers) for name, code in compiled.programs.items()}


def _renumbered(code: bytes, numbers: Mapping[int, int]) -> bytes:
    changed = bytearray(code)
    for offset, number in map_references(code):
        if number not in numbers:
            raise ValueError(f"an unknown map {number}")
        _IMMEDIATE.pack_into(changed, offset, numbers[number])
    return bytes(changed)


def encode(text: Text, key: str) -> bytes:
    """One JSON object: format, key, content and a digest of all three."""
    content = {
        "programs": {
            name: base64.b64encode(code).decode() for name, code in text.compiled.programs.items()
        },
        "maps": [list(shape) for shape in text.compiled.maps],
        "makers": [list(maker) for maker in text.makers],
    }
    digest = _digest(key, content)
    return orjson.dumps({"format": FORMAT, "key": key, "digest": digest, "content": content})


def decode(data: bytes, key: str) -> Text | None:
    """What ``encode`` was given; None if this is something else, damaged, or of another key."""
    try:
        found = orjson.loads(data)
        if set(found) != {"format", "key", "digest", "content"}:
            return None
        if (found["format"], found["key"]) != (FORMAT, key):
            return None
        content = found["content"]
        if found["digest"] != _digest(key, content):
            return None
        programs = {
            name: base64.b64decode(code, validate=True)
            for name, code in content["programs"].items()
        }
        maps = tuple(MapShape(*shape) for shape in content["maps"])
        return Text(Compiled(programs, maps), tuple(Maker(*maker) for maker in content["makers"]))
    except (AttributeError, KeyError, TypeError, ValueError):  # also orjson's and base64's errors
        return None


def _digest(key: str, content: Any) -> str:
    whole = orjson.dumps([FORMAT, key, content], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(whole).hexdigest()
