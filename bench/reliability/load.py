"""A running agent on this machine, and something for it to count."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence

from bench.cgroups import remove
from bench.reliability.asking import Agent
from bench.reliability.work import Repeating, Work, free_address
from bench.workloads import run, workload
from support.stream import Stream

_FORKS = "7"


class Churn:
    """Each call: a cgroup comes, forks seven times and is gone, so that four events are told."""

    def __init__(self, top: str) -> None:
        self._top = top
        self._numbers = itertools.count()
        self.made = 0

    def __call__(self) -> None:
        path = f"{self._top}/job-{next(self._numbers)}"
        os.mkdir(path)
        try:
            run(path, [workload("loop"), "processes", _FORKS])
        finally:
            remove(path)
        self.made += 1


@contextlib.contextmanager
def streaming(
    work: Work,
    *words: str,
    interval_seconds: float = 0.2,
    before: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Iterator[tuple[Stream, Agent]]:
    """``threadtrace stream`` that writes to its standard output, too, and answers."""
    agent = Agent(free_address())
    socket = ("--socket", str(work.directory / "agent.sock"))
    with Stream(
        *("--listen", agent.address, "--output", "-"),
        *socket,
        *words,
        interval_seconds=interval_seconds,
        before=before,
        environment=environment,
    ) as stream:
        yield stream, agent


def busy(top: str, every_seconds: float = 0.05) -> Repeating:
    return Repeating(Churn(top), every_seconds)
