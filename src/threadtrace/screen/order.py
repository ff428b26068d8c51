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
    """In the order in which they stood before; who is new stands last."""
    by_key = {line.key: line for line in lines}
    kept = [by_key.pop(key) for key in order_before if key in by_key]
    return kept + list(by_key.values())


def pinned(lines: Sequence[Line], key: str | None, position: int) -> list[Line]:
    """One line stays at its position; the others flow around it in their order."""
    mine = next((line for line in lines if line.key == key), None)
    if mine is None:
        return list(lines)
    others = [line for line in lines if line is not mine]
    position = min(position, len(others))
    return [*others[:position], mine, *others[position:]]
