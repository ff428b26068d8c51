"""What a benchmark finds: rows of a table, each with its spread and its peer."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """Smallest, median and largest of some measurements."""

    low: float
    median: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        numbers = sorted(values)
        return cls(numbers[0], statistics.median(numbers), numbers[-1], len(numbers))

    def text(self, unit: str, digits: int = 1, factor: float = 1.0) -> str:
        """``low - median - high unit (n)``."""
        shown = (f"{value * factor:,.{digits}f}" for value in (self.low, self.median, self.high))
        return f"{' - '.join(shown)} {unit} (n={self.count})".replace("  ", " ")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. Texts, but for ``is_met``: whether it reaches its target, None without one."""

    what: str
    figure: str
    target: str = ""
    is_met: bool | None = None
    peer: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What one benchmark found, and how."""

    name: str
    method: str
    rows: tuple[Row, ...]
