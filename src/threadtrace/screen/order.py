"""In which order the lines stand, and how the one that is looked at stays where it is. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from threadtrace.model.danger import danger
from threadtrace.screen.lines import Line

SortKey = Callable[[Line], Any]


def by_danger(line: Line) -> Any:
    """Who does harm or is refused first."""
    return danger(line.shot)


def in_order(lines: Iterable[Line], key: SortKey, is_ascending: bool) -> list[Line]:
    """Sorted; what is not known stands last, whichever way."""
    known: list[tuple[Any, Line]] = []
    unknown: list[Line] = []
    for line in lines:
        value = key(line)
        if value is None:
            unknown.append(line)
        else:
            known.append((value, line))
    known.sort(key=lambda entry: entry[0], reverse=not is_ascending)
    return [line for _, line in known] + unknown


def held(lines: Sequence[Line], order_before: Sequence[str]) -> list[Line]:
    """In the order in which they stood before; who is new stands last, in a tree in its group."""
    before = set(order_before)
    by_key = {line.key: line for line in lines}
    kept = [by_key[key] for key in dict.fromkeys(order_before) if key in by_key]
    if not any(line.depth for line in lines):
        return kept + [line for line in lines if line.key not in before]
    following: dict[str, list[Line]] = {}
    last = ""
    for line in lines:
        if line.key in before:
            last = line.key
        else:
            following.setdefault(last, []).append(line)
    found = following.get("", [])
    for line in kept:
        found += [line, *following.get(line.key, ())]
    return found


def pinned(lines: Sequence[Line], key: str | None, position: int) -> list[Line]:
    """One line stays at its position; the others flow around it in their order."""
    mine = next((line for line in lines if line.key == key), None)
    if mine is None:
        return list(lines)
    others = [line for line in lines if line is not mine]
    position = max(0, min(position, len(others)))
    return [*others[:position], mine, *others[position:]]
