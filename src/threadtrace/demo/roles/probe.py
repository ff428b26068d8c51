"""A pod with an exec probe: starts a process each second and tells, as JSON, how that went.

probe.py NAME
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time

_PERIOD_SECONDS = 1.0


def main(name: str) -> None:
    """Probe until somebody ends this process."""
    with open("/proc/thread-self/comm", "wb", buffering=0) as file:
        file.write(name.encode())
    command = shutil.which("true") or "/bin/true"
    while True:
        _tell(_probe(command))
        time.sleep(_PERIOD_SECONDS)


def _probe(command: str) -> dict[str, str]:
    try:
        pid = os.posix_spawn(command, [command], {})
    except OSError as error:
        return {"probe": "refused", "text": error.strerror or str(error)}
    os.waitpid(pid, 0)
    return {"probe": "ok"}


def _tell(message: dict[str, str]) -> None:
    """In one write: others write to the same pipe."""
    os.write(sys.stdout.fileno(), json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
