"""Waiting with a deadline, and ending processes without ever hitting a recycled pid."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

POLL_SECONDS = 0.01


def wait_until(
    condition: Callable[[], T],
    deadline_seconds: float,
    what: str | Callable[[], str],
) -> T:
    """Call `condition` until it returns something true, and return that.

    Raises TimeoutError with `what` after `deadline_seconds`; pass a callable to describe the
    state at that moment.
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


def run(command: Sequence[str | Path], timeout_seconds: float = 30) -> str:
    """Run a command to its end and return its stdout.

    Raises RuntimeError with both outputs when it fails, subprocess.TimeoutExpired when it hangs.
    """
    words = [str(word) for word in command]
    done = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(
            f"{' '.join(words)} ended with {done.returncode}:\n{done.stderr}{done.stdout}"
        )
    return done.stdout


class ProcessHandle:
    """A process that is not our child, held by a pidfd: signals never reach a recycled pid.

    Raises ProcessLookupError when the process is gone already.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._pidfd = os.pidfd_open(pid)

    def ended(self, timeout_seconds: float = 0) -> bool:
        """Whether the whole thread group has exited (reaped or not) within the time."""
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(timeout_seconds * 1000))

    def signal(self, number: int) -> None:
        """Send a signal; a process that ended meanwhile is no error."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    def close(self) -> None:
        """Close the pidfd; the process stays as it is."""
        os.close(self._pidfd)


def kill_all(pids: Iterable[int], deadline_seconds: float = 10) -> None:
    """SIGKILL these processes and wait until each has exited.

    Raises TimeoutError when one has not.
    """
    handles = []
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            handles.append(ProcessHandle(pid))
    try:
        for handle in handles:
            handle.signal(signal.SIGKILL)
        for handle in handles:
            if not handle.ended(deadline_seconds):
                raise TimeoutError(f"process {handle.pid} survived SIGKILL")
    finally:
        for handle in handles:
            handle.close()


def pids_with_argument(argument: str) -> list[int]:
    """The processes that have exactly this word in their command line.

    For words that are unique to the caller, such as a socket's path in a private directory.
    """
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            words = (directory / "cmdline").read_bytes().split(b"\0")
        except OSError:  # ended between the listing and the reading
            continue
        if os.fsencode(argument) in words:
            found.append(int(directory.name))
    return found
