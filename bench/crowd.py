"""A node with many quiet workloads of which some are active, second by second."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.cgroups import make_pods, own_cgroup
from bench.runtime_files import write_runtime_files
from bench.workloads import listed, started, workload

_SPARE_TASKS = 64


class Crowd:
    """Cgroups that hold a task each."""

    def __init__(self, root: Path, active: subprocess.Popen[bytes]) -> None:
        self.root = root
        """Where the node's root directory is meant to be: the workloads' names are below it."""
        self._active = active

    def work(self) -> None:
        """Each of the active ones forks once."""
        assert self._active.stdin is not None
        self._active.stdin.write(b".")
        _await(self._active)

    def live(self, seconds: float, look: Callable[[float], None] = time.sleep) -> None:
        """Work once a second.

        Args:
            seconds: for so long.
            look: spends so many seconds.
        """
        begin = time.perf_counter()
        for second in range(round(seconds)):
            self.work()
            look(max(0.0, begin + second + 1 - time.perf_counter()))


@contextmanager
def crowd(directory: Path, count: int, active: int) -> Iterator[Crowd]:
    """So many cgroups, named as the kubelet names them, of which some are active.

    Args:
        directory: empty, for the files that a runtime would have left.
        count: of cgroups.
        active: of these.
    """
    with own_cgroup(2 * count + _SPARE_TASKS) as top, ExitStack() as stack:
        paths = make_pods(top, count)
        write_runtime_files(directory, count // 4 + 1)
        workers = []
        # Every tenth or so, in pods and containers alike.
        step = count // active
        chosen = paths[::step][:active]
        others = sorted(set(paths) - set(chosen))
        for some in (chosen, others):
            listing = stack.enter_context(listed(some))
            worker = stack.enter_context(started(top, [workload("inhabit"), listing]))
            _await(worker)
            workers.append(worker)
        yield Crowd(directory, workers[0])


def _await(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    if not process.stdout.read(1):
        raise RuntimeError(f"the workload ended with code {process.wait()}")
