"""Programs brought into the kernel: from what is kept, or from what bcc has compiled just now."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from typing import NamedTuple

from threadtrace.probe.compiled import (
    Maker,
    map_references,
    with_descriptors,
    without_descriptors,
)
from threadtrace.probe.kept import Shelf
from threadtrace.probe.kernel_maps import create_map, shape_of
from threadtrace.probe.plan import Hook, Missing


class Code(NamedTuple):
    """Instructions and maps by name, the ones with descriptors of the others."""

    programs: dict[str, bytes]
    maps: dict[str, int]
    owner: object = None
    """What closes the maps when it goes; None where nothing does."""


class Placed(NamedTuple):
    """What was loaded and attached, by descriptor, and which hooks the kernel refused."""

    maps: dict[str, int]
    programs: dict[str, int]
    attachments: list[int]
    hooks: list[Hook]
    missing: list[Missing]
    counting_since_ns: int
    """CLOCK_MONOTONIC, just before the first was attached."""


def place_kept(shelf: Shelf, place: Callable[[Code], Placed]) -> Placed | None:
    """What is kept, in maps made anew.

    None where nothing is kept or the kernel refuses any of it: then bcc has to compile.
    """
    compiled = shelf.take()
    if compiled is None:
        return None
    maps: dict[str, int] = {}
    placed = None
    # Refused, or other maps and programs than those that are to be placed.
    with contextlib.suppress(OSError, KeyError, ValueError):
        for shape in compiled.maps:
            maps[shape.name] = create_map(shape)
        placed = place(Code(with_descriptors(compiled, list(maps.values())), maps))
        if not placed.missing:
            return placed
    if placed is not None:
        _close((*placed.attachments, *placed.programs.values()))
    _close(maps.values())
    return None


def keep(shelf: Shelf, code: Code, makers: tuple[Maker, ...]) -> None:
    """Keep what bcc compiled, where it can be: see ``Shelf``."""
    with contextlib.suppress(OSError, ValueError):
        referred = {fd for text in code.programs.values() for _, fd in map_references(text)}
        descriptors = sorted(referred | set(code.maps.values()))
        shapes = {fd: shape_of(fd) for fd in descriptors}
        shelf.put(without_descriptors(code.programs, shapes), makers)


def _close(descriptors: Iterable[int]) -> None:
    for fd in descriptors:
        os.close(fd)
