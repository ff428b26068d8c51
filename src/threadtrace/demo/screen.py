"""What the demo shows while it runs: the live table with two lines above, or a line a second."""

from __future__ import annotations

import time

import click

from threadtrace.demo.director import Director
from threadtrace.demo.incidents import MAX_TASKS
from threadtrace.feed import About
from threadtrace.model.snapshot import Happenings, Snapshot
from threadtrace.screen.board import Choice
from threadtrace.screen.views import RefreshedView


class DirectedView(RefreshedView):
    """The plain table of ``threadtrace top``; what happens on the stage stands above it."""

    def __init__(self, director: Director) -> None:
        """Needs a terminal."""
        super().__init__(Choice(), "demo")
        self._director = director

    def _notes(self) -> list[str]:
        return [self._director.headline, self._director.line, *super()._notes()]


class Lines:
    """For pipes and files."""

    def __init__(self, director: Director) -> None:
        """Writes to standard output."""
        self._director = director
        self._start = time.monotonic()

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held back."""

    def on_start(self, about: About) -> None:
        """Nothing of it is told."""

    def on_happenings(self, happened: Happenings) -> None:
        """The director tells of them."""

    def on_snapshot(self, snapshot: Snapshot) -> None:
        """One line."""
        seconds = time.monotonic() - self._start
        refused = sum(workload.counts.refused for workload in snapshot.workloads)
        director = self._director
        click.echo(
            f"{seconds:4.0f} s  tasks {director.tasks:>3} of {MAX_TASKS}  refused {refused:>3,}  "
            f"{director.line}"
        )
