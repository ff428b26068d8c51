"""What a labelled workload is: a command, its limits, and what it must have done to count."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.detection.tools import Tools

Label = Literal["benign", "malign"]
Half = Literal["fit", "report"]
Lane = Literal["slow", "leaks", "runtimes", "pools", "processor", "alone"]

MAX_TASKS = 13_000
"""pids.max around everything that runs at a time: a safety net, which no workload reaches."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a workload runs: its cgroup, and the command once all it needs is made."""

    cgroup: str
    scratch: str
    """A directory of its own, gone at the end."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A labelled workload. ``seconds`` is what it takes; it is ended after twice that, and 20."""

    name: str
    label: Label
    half: Half
    """For choosing the detector's thresholds, or for the figures that are reported."""
    lane: Lane
    """Those of a lane run one after the other, the lanes beside each other; ``alone`` after all."""
    what: str
    command: Callable[[Tools, Place], Sequence[str]]
    """Makes what is needed (before the agent starts) and tells what to run."""
    seconds: float
    limit: int | None = None
    """pids.max of its cgroup; None: none but that of the safety net."""
    limited: str = ""
    """Path below its cgroup of the one that has the limit."""
    leaf: str = ""
    """Path below its cgroup in which it runs."""
    pid_max: int | None = None
    """Of a PID namespace of its own, which no cgroup shows (Linux 6.14 and newer)."""
    least_peak: int = 0
    """Tasks it must have had at a time, else it did not do what its name says."""
    least_births: int = 0
    is_refused: bool = False
    """It reaches its limit."""

    @property
    def max_seconds(self) -> float:
        return 2 * self.seconds + 20
