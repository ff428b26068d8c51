"""Words for people, on stderr: standard output is for events."""

from __future__ import annotations

import contextlib
import sys


def warn(message: str) -> None:
    """One line. Stderr may be closed or on the disk that is full: then it is lost, no more."""
    if sys.stderr is None:  # print would take standard output instead
        return
    with contextlib.suppress(OSError, ValueError):
        print(f"threadtrace: {' '.join(message.split())}", file=sys.stderr, flush=True)
