"""Waiting for a condition, never for a time."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")

POLL_SECONDS = 0.005


def wait_until(
    condition: Callable[[], T], deadline_seconds: float, what: str | Callable[[], str]
) -> T:
    """Call `condition` until it returns something true, and return that.

    Raises TimeoutError with `what`; pass a callable to describe the state at that moment.
    """
    end = time.monotonic() + deadline_seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= end:
            described = what() if callable(what) else what
            raise TimeoutError(f"not within {deadline_seconds:g} s: {described}")
        time.sleep(POLL_SECONDS)


def kill_all(pids: Iterable[int], deadline_seconds: float = 10) -> None:
    """SIGKILL these processes and wait until each has exited; never hits a recycled PID late."""
    descriptors = []
    for pid in pids:
        with suppress(ProcessLookupError):
            descriptors.append(os.pidfd_open(pid))
    try:
        for fd in descriptors:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(fd, signal.SIGKILL)
        for fd in descriptors:
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            if not poll.poll(deadline_seconds * 1000):
                raise TimeoutError("a process survived SIGKILL")
    finally:
        for fd in descriptors:
            os.close(fd)
