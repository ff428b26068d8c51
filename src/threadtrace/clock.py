"""The time, as the kernel's records and the events have it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Clock:
    """Both clocks, so that tests can set them."""

    monotonic_ns: Callable[[], int] = time.monotonic_ns
    realtime_ns: Callable[[], int] = time.time_ns

    def realtime_of(self, monotonic_ns: int) -> int:
        """The kernel's timestamp as time since the epoch."""
        return self.realtime_ns() - (self.monotonic_ns() - monotonic_ns)

    def seconds(self) -> float:
        """Monotonic."""
        return self.monotonic_ns() / NANOSECONDS
