"""What is kept of a workload while it is followed, beside its track."""

from __future__ import annotations

from dataclasses import dataclass

from threadtrace.detect.track import Track
from threadtrace.model.explosion import State, Transition
from threadtrace.model.snapshot import Totals

# An episode is told anew when it changed by so much, or was not for so long.
_UPDATE_SECONDS = 1.0
_UPDATE_AT_LEAST_SECONDS = 10.0
_UPDATE_RATIO = 0.1

# How often one is looked at in which nothing happens.
_IDLE_SECONDS = 5.0

# Rates of less time would be noise.
_LEAST_RATE_SECONDS = 0.1


@dataclass(slots=True)
class Followed:
    """One workload that grows, is refused, or is in a storm."""

    track: Track
    before: Totals
    """All births and exits of the workload when it began to grow."""
    counted: Totals
    """The same when rates were last taken."""
    counted_s: float
    rates: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Threads and processes created, and exits, a second."""
    refused: int = 0
    creator: int | None = None
    was_refused: bool = False
    number: int = 0
    """Of the episode, 0 before one was called."""
    told_s: float = 0.0
    told_tasks: int = 0
    told_state: State | None = None
    has_news: bool = False
    """Whether somebody was refused since it was told."""

    def is_due(self, tasks: int, time_s: float) -> bool:
        """Whether it is to be looked at though nothing was born or gone in it."""
        last = self.track.trend.last
        return self.track.is_called or tasks != last.value or time_s - last.time_s >= _IDLE_SECONDS

    def take_rates(self, counts: Totals, time_s: float) -> None:
        """Since the last call."""
        seconds = time_s - self.counted_s
        if seconds >= _LEAST_RATE_SECONDS:
            threads, processes, exited, _ = (a - b for a, b in zip(counts, self.counted))
            self.rates = threads / seconds, processes / seconds, exited / seconds
            self.counted, self.counted_s = counts, time_s

    def process_ratio(self, counts: Totals) -> float:
        """Processes among the births since it is followed; 0 where there were none."""
        threads = counts.threads_created - self.before.threads_created
        processes = counts.processes_created - self.before.processes_created
        return processes / (threads + processes) if threads + processes > 0 else 0.0

    def is_news(self, transition: Transition, time_s: float) -> bool:
        """Whether it is to be told: updates not too often, and only where something changed."""
        if transition is not Transition.UPDATED:
            return True
        silent_seconds = time_s - self.told_s
        tasks = self.track.trend.last.value
        has_changed = (
            self.has_news
            or self.track.state is not self.told_state
            or abs(tasks - self.told_tasks) > self.told_tasks * _UPDATE_RATIO
        )
        return silent_seconds >= (_UPDATE_SECONDS if has_changed else _UPDATE_AT_LEAST_SECONDS)

    def note_told(self, time_s: float) -> None:
        """It was told as it stands now."""
        self.told_s, self.has_news = time_s, False
        self.told_tasks, self.told_state = self.track.trend.last.value, self.track.state
