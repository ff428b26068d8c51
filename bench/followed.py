"""What it costs to follow workloads that grow.

Each has a trend that is full and a forecast; one look is the detector's decision about one of them,
1,024 are as many as are followed at a time. Processor time of this process.
"""

from __future__ import annotations

import time

from bench.figures import Result, Row, Spread
from threadtrace.detect.thresholds import Thresholds
from threadtrace.detect.track import Observation, Track
from threadtrace.detect.trend import Trend
from threadtrace.model.explosion import Forecast
from threadtrace.probe.records import Limit

_FOLLOWED = 1_024
_SECONDS_BEFORE = 200
_ROUNDS, _QUICK_ROUNDS = 20, 3


class _Growing:
    """One that gains a task every four seconds, which is never called within that time."""

    def __init__(self) -> None:
        self._track = Track(0.0, 10, Thresholds())
        self._use = Trend(0.0, 10)
        for second in range(1, _SECONDS_BEFORE):
            self.look(second)

    def look(self, second: int) -> None:
        tasks = 10 + second // 4
        self._use.add(second, tasks)
        slope = self._use.slope(second - 30.0) or 0.0
        seconds = (10_000 - tasks) / slope if slope > 0 else None
        forecast = Forecast(Limit.PIDS_MAX, "/a", 10_000, tasks, seconds, "pids.max")
        self._track.observe(Observation(second, tasks, 0.25, 0.0, 0.0, False, forecast))


def measure(quick: bool) -> Result:
    """All of them, once a second."""
    growing = [_Growing() for _ in range(_FOLLOWED)]
    rounds = []
    for second in range(_SECONDS_BEFORE, _SECONDS_BEFORE + (_QUICK_ROUNDS if quick else _ROUNDS)):
        began = time.process_time()
        for one in growing:
            one.look(second)
        rounds.append(time.process_time() - began)
    spread = Spread.of(rounds)
    return Result(
        "followed",
        __doc__ or "",
        (
            Row("a look at one workload that grows", spread.text("us", factor=1e6 / _FOLLOWED)),
            Row("  at 1,024 of them, a tick", spread.text("ms", factor=1e3)),
        ),
    )
