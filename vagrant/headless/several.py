"""Several kernels at a time: each in a process of its own, their output line by line."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).resolve().parent.parent / "run-kernels"


def run_all(names: list[str], arguments: list[str], jobs: int) -> dict[str, int]:
    """The exit status of each kernel's run.

    Args:
        names: of the kernels.
        arguments: of run-kernels, for each.
        jobs: so many at a time.
    """
    waiting = list(names)
    running: list[_Run] = []
    codes: dict[str, int] = {}
    with selectors.DefaultSelector() as selector:
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    running.append(_Run(waiting.pop(0), arguments))
                    selector.register(running[-1].output, selectors.EVENT_READ, running[-1])
                for key, _ in selector.select():
                    run: _Run = key.data
                    if run.tell():
                        continue
                    selector.unregister(run.output)
                    running.remove(run)
                    codes[run.name] = run.process.wait()
        finally:
            for run in running:
                run.process.terminate()
            for run in running:
                run.process.wait()
    return codes


class _Run:
    """One kernel's."""

    def __init__(self, name: str, arguments: list[str]) -> None:
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, PROGRAM, name, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert self.process.stdout is not None
        self.output = self.process.stdout.fileno()
        self._rest = b""

    def tell(self) -> bool:
        """Print what came, whole lines with the kernel's name before them; False at the end."""
        data = os.read(self.output, 1 << 16)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if not data and self._rest:
            lines.append(self._rest)
        for line in lines:
            text = line.decode(errors="replace").rstrip()
            print(f"{self.name:10}| {text}", flush=True)
        return bool(data)
