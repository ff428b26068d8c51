"""threadtrace run to its end."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence

from support.stream import THREADTRACE

DEADLINE_SECONDS = 60

Completed = subprocess.CompletedProcess[bytes]


def threadtrace(
    *arguments: str,
    before: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Completed:
    """Run it; `before` is a command that executes it."""
    return subprocess.run(
        [*before, *THREADTRACE, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=DEADLINE_SECONDS,
        env={**os.environ, **(environment or {})},
        check=False,
    )


def in_private_mounts(script: str) -> list[str]:
    """A prefix for `before`: shell commands in a mount namespace that ends with the process."""
    script += '\nexec "$@"'
    return ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh"]


def assert_one_line(completed: Completed, code: int, *words: str) -> str:
    """It failed as a command should: this code, nothing on stdout, one line with these words."""
    error = completed.stderr.decode()
    assert completed.returncode == code, error
    assert completed.stdout == b""
    assert error.count("\n") == 1, error
    assert error.startswith("threadtrace: ")
    for word in words:
        assert word in error, error
    return error
