"""Between a feed and a view: the first snapshot left out, so many of them, or the last one only."""

from __future__ import annotations

from collections.abc import Callable

from threadtrace.feed import About, Output
from threadtrace.model.snapshot import Happenings, Snapshot
from threadtrace.screen.views import View


class Enough(Exception):
    """No more is wanted."""


def be_enough() -> None:
    """End whatever tells the output.

    Raises:
        Enough: always.
    """
    raise Enough


def never() -> bool:
    """False."""
    return False


class WithoutFirst:
    """Leaves out the first snapshot."""

    def __init__(self, output: Output) -> None:
        """Pass on to that one."""
        self._output = output
        self._is_first = True

    def on_happenings(self, happened: Happenings) -> None:
        """See Output."""
        self._output.on_happenings(happened)

    def on_snapshot(self, snapshot: Snapshot) -> None:
        """See Output."""
        if not self._is_first:
            self._output.on_snapshot(snapshot)
        self._is_first = False


class Counted:
    """Passes on so many snapshots, then tells that it is enough."""

    def __init__(
        self,
        view: View,
        samples: int | None,
        enough: Callable[[], None],
        is_stopping: Callable[[], bool] = never,
    ) -> None:
        """Pass on to a view.

        Args:
            view: shows them.
            samples: how many; None: all.
            enough: is called after the last of them, and where it is told to end before.
            is_stopping: whether it is.
        """
        self._view, self._left, self._enough = view, samples, enough
        self._is_stopping = is_stopping

    def on_start(self, about: About) -> None:
        """See FeedOutput."""
        self._view.on_start(about)

    def on_happenings(self, happened: Happenings) -> None:
        """See FeedOutput."""
        self._view.on_happenings(happened)

    def on_snapshot(self, snapshot: Snapshot) -> None:
        """See FeedOutput."""
        if self._is_stopping():
            self._enough()
        if self._left == 0:
            return
        self._view.on_snapshot(snapshot)
        if self._left is not None:
            self._left -= 1
            if self._left == 0:
                self._enough()
