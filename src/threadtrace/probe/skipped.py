"""What is lost since the kernel skips a program of which another run is under way on that CPU."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

_READINGS = 5

RECHECKED = {
    "on_task_newtask": ("recheck_newtask", "settle_newtask"),
    "on_sched_process_exit": ("recheck_exit", "settle_exit"),
}
"""Programs behind which others see each event once more, in this order, where tracepoints are
preemptible; see ``bpf/recheck.h``."""
RECHECKING = frozenset(program for programs in RECHECKED.values() for program in programs)

_SEES_RETURNS = "on_copy_process_exit"
# What these are skipped for is at most a cause that is told less surely.
_SEE_STAGES = ("on_alloc_pid_exit", "on_cgroup_can_fork_exit")


class Runs(NamedTuple):
    """Cumulative, of the programs' runs."""

    skipped: Mapping[str, int]
    """By program, those that the kernel skipped."""
    clones_returned: int
    """Clones that succeeded, and whose return was seen."""


def skipped_runs(program_fd: int) -> int:
    """Runs of a program that the kernel skipped, which it tells from 5.12 on."""
    with open(f"/proc/self/fdinfo/{program_fd}", "rb", buffering=0) as info:
        text = info.read(2048)
    _, found, rest = text.partition(b"recursion_misses:")
    return int(rest.split(None, 1)[0]) if found else 0


class Smallest:
    """The smallest of the last readings, but never less than it was.

    A task may be between two programs while their counters are read, but hardly one at each of
    several readings: what is open in all of them stays so.
    """

    def __init__(self) -> None:
        self._readings: deque[int] = deque(maxlen=_READINGS)
        self._told = 0

    def told(self, reading: int) -> int:
        """Take one more; 0 until there are enough."""
        self._readings.append(reading)
        if len(self._readings) == _READINGS:
            self._told = max(self._told, min(self._readings))
        return self._told


class ReturnProbes:
    """How many returns of copy_process no return probe saw.

    The kernel has room for so many calls of a probed function at a time (``maxactive``,
    Documentation/trace/kprobes.rst) and skips the others; of a probe that belongs to one process it
    tells their number (``nmissed``) only from 6.7 on. But each clone that succeeds passes the
    tracepoint of births, inside that function, and then returns: what is missing was missed.
    """

    def __init__(self) -> None:
        self._open = Smallest()
        self._at_start: int | None = None

    def missed(self, born: int, returned: int) -> int:
        """How many so far, at the least.

        Args:
            born: clones that succeeded, cumulative.
            returned: those whose return was seen, cumulative.
        """
        if self._at_start is None:
            self._at_start = born - returned  # one program is attached before the other
        return self._open.told(born - returned - self._at_start)


class SkippedRuns:
    """How many events were missed, where a tracepoint's programs may be preempted.

    The kernel counts each run that it skips. But what a program behind the first has caught is not
    lost, nor is the return of a clone that succeeded.
    """

    def __init__(self) -> None:
        self._uncaught = Smallest()
        self._refusals = 0
        self._at_start: deque[int] = deque(maxlen=_READINGS)

    def lost(self, runs: Runs, caught: int, born: int) -> int:
        """How many so far, at the least.

        Args:
            runs: read before the others, so that no clone has returned that was not born.
            caught: births and exits that the first program was skipped for, cumulative.
            born: clones that succeeded, cumulative.
        """
        skipped = runs.skipped
        elsewhere = {_SEES_RETURNS, *_SEE_STAGES, *RECHECKED, *RECHECKING}
        lost = sum(runs for program, runs in skipped.items() if program not in elsewhere)
        lost += self._uncaught.told(sum(skipped[program] for program in RECHECKED) - caught)
        if _SEES_RETURNS in skipped:
            # A birth that all missed is among these once more: its clone was seen to return.
            lost += self._refusals_lost(skipped[_SEES_RETURNS] + runs.clones_returned - born)
        return lost

    def _refusals_lost(self, reading: int) -> int:
        """Clones under way make a reading smaller, so the largest is the nearest to the truth."""
        if len(self._at_start) < _READINGS:  # one program is attached before the other
            self._at_start.append(reading)
        self._refusals = max(self._refusals, reading - max(self._at_start))
        return self._refusals
