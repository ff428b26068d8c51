"""Pools as services have them. Usage: pools.py KIND NUMBER SECONDS."""

import math
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

STEP_SECONDS = 0.1
SATURATION_SECONDS = 30.0
PERIOD_SECONDS = 15.0
RESTART_SECONDS = 5.0


class Pool:
    """Threads that wait, as many as are wanted now."""

    def __init__(self) -> None:
        self._ends: list[threading.Event] = []

    def resize(self, size: int) -> None:
        while len(self._ends) < size:
            end = threading.Event()
            threading.Thread(target=end.wait, daemon=True).start()
            self._ends.append(end)
        while len(self._ends) > size:
            self._ends.pop().set()


def follow(size_at: Callable[[float], float], seconds: float) -> None:
    pool, start = Pool(), time.monotonic()
    while (elapsed := time.monotonic() - start) < seconds:
        pool.resize(round(size_at(elapsed)))
        time.sleep(STEP_SECONDS)


def fixed(number: int, seconds: float) -> None:
    """All started at once: each task waits until all are there."""
    all_there = threading.Barrier(number)
    with ThreadPoolExecutor(number) as pool:
        list(pool.map(lambda _: all_there.wait(30), range(number)))
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            list(pool.map(math.sqrt, range(number)))
            time.sleep(STEP_SECONDS)


def linear(number: int, seconds: float) -> None:
    """Grows over four fifths of the time, then stays."""
    follow(lambda elapsed: min(number, number * elapsed / (0.8 * seconds)), seconds)


def saturating(number: int, seconds: float) -> None:
    follow(lambda elapsed: number * (1 - math.exp(-elapsed / SATURATION_SECONDS)), seconds)


def sawtooth(number: int, seconds: float) -> None:
    def size_at(elapsed: float) -> float:
        phase = elapsed % PERIOD_SECONDS / PERIOD_SECONDS
        return number * (1 - abs(2 * phase - 1))

    follow(size_at, seconds)


def restarts(number: int, seconds: float) -> None:
    """A process with a pool is replaced again and again: the next is there before the last goes."""
    end, last = time.monotonic() + seconds, None
    while time.monotonic() < end:
        command = [sys.executable, __file__, "fixed", str(number), str(seconds)]
        following = subprocess.Popen(command)
        time.sleep(RESTART_SECONDS / 2)
        if last is not None:
            last.send_signal(signal.SIGKILL)
            last.wait()
        last = following
        time.sleep(RESTART_SECONDS / 2)
    if last is not None:
        last.kill()


def _work(number: int) -> float:
    return sum(math.sqrt(value) for value in range(20_000 + number % 7))


def processes(number: int, seconds: float) -> None:
    end = time.monotonic() + seconds
    with multiprocessing.Pool(number) as pool:
        while time.monotonic() < end:
            pool.map(_work, range(20 * number), chunksize=1)


KINDS = {kind.__name__: kind for kind in (fixed, linear, saturating, sawtooth, restarts, processes)}

if __name__ == "__main__":
    threading.stack_size(128 * 1024)
    KINDS[sys.argv[1]](int(sys.argv[2]), float(sys.argv[3]))
    sys.stdout.flush()
    os._exit(0)
