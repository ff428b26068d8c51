"""What this process costs."""

from __future__ import annotations

import psutil

from threadtrace.model.cost import AgentCost

_SILENT_INTERVALS = 3
_LEAST_PATIENCE_SECONDS = 10.0


class Ticking:
    """How the ticks of this agent went; its outputs and its watchdog ask."""

    def __init__(self, interval_seconds: float) -> None:
        """None came yet."""
        self.ticks = 0
        self.tick_seconds = 0.0
        """How long the last one took."""
        self.lag_seconds = 0.0
        """By how much the last one began later than it was due."""
        self.interval_seconds = interval_seconds
        """Between two of them now."""
        self.last_s: float | None = None
        """When the last one ended, monotonic; None before the first."""
        self._process = psutil.Process()

    def silence(self, now_s: float) -> str | None:
        """Why these are no ticks any more; None while they come.

        Args:
            now_s: monotonic.
        """
        if self.last_s is None:
            return "the first sample has not been taken yet"
        silent_seconds = now_s - self.last_s
        if silent_seconds < max(_LEAST_PATIENCE_SECONDS, _SILENT_INTERVALS * self.interval_seconds):
            return None
        return f"no sample for {silent_seconds:.0f} s"

    def cost(self) -> AgentCost:
        """All of it, now."""
        with self._process.oneshot():
            times = self._process.cpu_times()
            return AgentCost(
                times.user + times.system,
                self._process.memory_info().rss,
                self._process.num_fds(),
                self.ticks,
                self.tick_seconds,
                self.lag_seconds,
                self.interval_seconds,
            )
