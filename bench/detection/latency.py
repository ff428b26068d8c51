"""From the first leaked thread to the line on the agent's standard output.

The leaking program writes CLOCK_MONOTONIC before its first thread; the line's moment is that of the
read from the pipe. Each run is a fresh process in a fresh cgroup.
"""

from __future__ import annotations

import contextlib
import random
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.cgroups import make_child, within
from bench.detection.running import arena, kill_all, path_of, require_free_pids
from bench.detection.tools import Tools
from bench.detection.watching import Pipe, agent_to_pipe, calls_in, is_within

_FAST_RATES = (1000, 2000)
_FAST_RUNS, _FAST_SECONDS, _FAST_SETTLE_SECONDS = 40, 0.6, 0.3
_CALLED_WITHIN_SECONDS = 2.0
_SLOW_RATE, _SLOW_RUNS, _SLOW_SECONDS = 5, 3, 60.0
_MAX_TASKS = 2000


@dataclass(frozen=True, slots=True)
class Delays:
    """Seconds from onset to line, of the runs that were called."""

    rate: int
    runs: int
    seconds: tuple[float, ...]


def measure(directory: Path, quick: bool) -> list[Delays]:
    """Delays at each rate. Raises CannotRun."""
    program = Tools(directory).c("leak")
    fast = [rate for rate in _FAST_RATES for _ in range(_FAST_RUNS // len(_FAST_RATES))]
    if quick:
        fast = fast[::5]
    random.Random(11).shuffle(fast)
    found: dict[int, list[float | None]] = {}
    with arena() as top, agent_to_pipe(directory) as pipe:
        for number, rate in enumerate(fast):
            time.sleep(random.Random(number).random())  # meets the agent's interval anywhere
            found.setdefault(rate, []).append(_fast(program, rate, top, number, pipe))
        if not quick:
            found[_SLOW_RATE] = _slow(program, top, pipe)
    return [
        Delays(rate, len(delays), tuple(delay for delay in delays if delay is not None))
        for rate, delays in sorted(found.items())
    ]


def _fast(program: str, rate: int, top: str, number: int, pipe: Pipe) -> float | None:
    require_free_pids()
    pipe.forget()
    cgroup = make_child(top, f"fast-{number}", _MAX_TASKS)
    count, seconds = str(int(rate * _FAST_SECONDS)), str(_FAST_SECONDS)
    options = ["-r", str(rate), "-n", count, "-t", seconds, "-d", str(_FAST_SETTLE_SECONDS)]
    with _running(program, options, cgroup) as process:
        onset = _onset(process)
        return _delay(pipe, cgroup, onset, onset + _FAST_SECONDS + _CALLED_WITHIN_SECONDS)


def _slow(program: str, top: str, pipe: Pipe) -> list[float | None]:
    pipe.forget()
    options = ["-r", str(_SLOW_RATE), "-n", "1000", "-t", str(_SLOW_SECONDS)]
    with contextlib.ExitStack() as stack:
        onsets = {}
        for number in range(_SLOW_RUNS):
            cgroup = make_child(top, f"slow-{number}", _MAX_TASKS)
            onsets[cgroup] = _onset(stack.enter_context(_running(program, options, cgroup)))
            time.sleep(0.3)
        until = max(onsets.values()) + _SLOW_SECONDS
        return [_delay(pipe, cgroup, onset, until) for cgroup, onset in onsets.items()]


@contextlib.contextmanager
def _running(
    program: str, options: Sequence[str], cgroup: str
) -> Iterator[subprocess.Popen[bytes]]:
    command = within(cgroup, [program, *options])
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        with process:  # closes the pipe
            try:
                yield process
            finally:
                process.kill()
    finally:
        kill_all(cgroup)


def _onset(process: subprocess.Popen[bytes]) -> float:
    assert process.stdout is not None
    word, _, number = process.stdout.readline().partition(b" ")
    assert word == b"onset", word
    return float(number)


def _delay(pipe: Pipe, cgroup: str, onset: float, until: float) -> float | None:
    path = path_of(cgroup)
    while True:
        for line in pipe.lines():
            if any(is_within(call, path) for call in calls_in([line.text])):
                return line.when - onset
        if time.monotonic() > until:
            return None
        time.sleep(0.02)
