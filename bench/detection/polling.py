"""The rule that a detector has to beat: pids.current, polled every ten seconds, 80 % of pids.max.

It is asked each second and judged afterwards, so that all ten phases of the poll count alike.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from bench.detection.running import directory_of

PERIOD_SECONDS = 10
THRESHOLD_RATIO = 0.8


@dataclass(frozen=True, slots=True)
class Sample:
    """The most used pids.max of a workload's cgroups, as a share; None without a limit."""

    when: float
    """CLOCK_MONOTONIC, seconds."""
    used_ratio: float | None
    tasks: int


@dataclass(slots=True)
class Poll:
    """The samples of each workload, by the path of its cgroup."""

    samples: dict[str, list[Sample]] = field(default_factory=lambda: defaultdict(list))


@contextlib.contextmanager
def polling(paths: Sequence[str]) -> Iterator[Poll]:
    """Sample these cgroups, and all below them, each second."""
    poll, stop = Poll(), threading.Event()

    def work() -> None:
        due = time.monotonic()
        while not stop.is_set():
            for path in paths:
                sample = _sample(path)
                if sample is not None:
                    poll.samples[path].append(sample)
            due += 1.0
            stop.wait(max(0.0, due - time.monotonic()))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield poll
    finally:
        stop.set()
        thread.join()


def alarms(samples: Sequence[Sample]) -> list[float | None]:
    """For each phase of the poll: when it first saw the threshold reached."""
    return [
        next((seen.when for seen in samples[phase::PERIOD_SECONDS] if _is_high(seen)), None)
        for phase in range(PERIOD_SECONDS)
    ]


def mean_lead(samples: Sequence[Sample], refused: float) -> float:
    """Seconds from the alarm to the first refusal, 0 where it came later or never."""
    leads = [0.0 if alarm is None else max(0.0, refused - alarm) for alarm in alarms(samples)]
    return fmean(leads)


def most_used(samples: Sequence[Sample]) -> float | None:
    """What it saw: the largest share of a limit; None where no cgroup had one."""
    return max((seen.used_ratio for seen in samples if seen.used_ratio is not None), default=None)


def _is_high(sample: Sample) -> bool:
    return sample.used_ratio is not None and sample.used_ratio >= THRESHOLD_RATIO


def _sample(path: str) -> Sample | None:
    top = directory_of(path)
    ratios, tasks = [], _read(f"{top}/pids.current")
    if not tasks:  # it has not started, or is over
        return None
    now = time.monotonic()
    for directory, _, _ in os.walk(top):
        limit, current = _read(f"{directory}/pids.max"), _read(f"{directory}/pids.current")
        if limit and current is not None:
            ratios.append(current / limit)
    return Sample(now, max(ratios, default=None), tasks)


def _read(path: str) -> int | None:
    """None where it is gone, or unlimited."""
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None
