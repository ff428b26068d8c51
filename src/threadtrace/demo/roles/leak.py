"""A service that starts threads and never ends one.

    leak.py NAME THREAD_NAME FIRST_PER_SECOND DOUBLES_EVERY_SECONDS MOST_THREADS

In THREAD_NAME, # stands for the thread's number. DOUBLES_EVERY_SECONDS 0: the rate stays.
"""

from __future__ import annotations

import itertools
import math
import sys
import threading
import time

_STACK_BYTES = 256 * 1024
_STEP_SECONDS = 0.05
# A pool that was refused a thread asks again, but not in a busy loop.
_RETRY_SECONDS = 0.5


def due_count(per_second: float, doubles_every: float, seconds: float) -> int:
    """How many threads there should be after so many seconds: the integral of the rate."""
    if not doubles_every:
        return int(per_second * seconds)
    growth: float = 2 ** (seconds / doubles_every) - 1
    return int(per_second * doubles_every / math.log(2) * growth)


def main(name: str, thread_name: str, per_second: str, doubles_every: str, most: str) -> None:
    """Leak until somebody ends this process."""
    _call_this_task(name)
    threading.stack_size(_STACK_BYTES)
    forever = threading.Event()
    start = time.monotonic()
    numbers = itertools.count(1)
    made = 0
    while True:
        due = due_count(float(per_second), float(doubles_every), time.monotonic() - start)
        pause = _STEP_SECONDS
        while made < min(due, int(most)):
            try:
                _start(thread_name.replace("#", str(next(numbers))), forever)
            except RuntimeError:  # can't start new thread
                pause = _RETRY_SECONDS
                break
            made += 1
        time.sleep(pause)


def _start(name: str, forever: threading.Event) -> None:
    def wait() -> None:
        _call_this_task(name)
        forever.wait()

    threading.Thread(target=wait, daemon=True).start()


def _call_this_task(name: str) -> None:
    """As the kernel, ps and threadtrace see it; Python itself tells the kernel from 3.14 on."""
    with open("/proc/thread-self/comm", "wb", buffering=0) as file:
        file.write(name.encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
