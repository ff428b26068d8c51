"""What ``threadtrace top`` writes where no live view can be: JSON, and plain tables."""

from __future__ import annotations

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from types import TracebackType

import orjson
from rich.console import Console, Group
from rich.live import Live

from threadtrace.delivery.errors import ReaderGone
from threadtrace.errors import OutputError
from threadtrace.feed import About
from threadtrace.model.danger import by_danger
from threadtrace.model.refusal import Refusal
from threadtrace.model.snapshot import Happenings, Snapshot
from threadtrace.output.sample import sample_fields
from threadtrace.output.sink import LineSink
from threadtrace.screen.board import Board, Choice
from threadtrace.screen.encoding import NEAREST
from threadtrace.screen.plain import frame

_WIDTH_OF_FILES = 160
_LEAST_WIDTH, _MOST_WIDTH = 20, 2_000
_KEPT_REFUSALS = 64


class View(ABC):
    """Takes what a feed tells (a ``FeedOutput``) and brings pictures to standard output."""

    is_silent = False
    """Whether snapshots are only taken in, until ``show`` is called."""

    @abstractmethod
    def on_start(self, about: About) -> None:
        """See FeedOutput."""

    @abstractmethod
    def on_happenings(self, happened: Happenings) -> None:
        """See Output."""

    @abstractmethod
    def on_snapshot(self, snapshot: Snapshot) -> None:
        """See Output."""

    @abstractmethod
    def show(self) -> None:
        """Bring the present sample to standard output, if there is one."""

    @property
    def lost_lines(self) -> int:
        """What could not be written, where that is not an error at once."""
        return 0

    def __enter__(self) -> View:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the terminal as it was."""
        return


class JsonView(View):
    """One object a sample: ``{"node": {...}, "workloads": [...]}``, the fields of the events."""

    def __init__(self, choice: Choice, is_stopping: Callable[[], bool]) -> None:
        """Writes to standard output.

        Raises:
            OutputError: it is closed.
        """
        self._board = Board()
        self._choice = choice
        self._refusals: list[Refusal] = []
        self._sink = LineSink.open("-", is_stopping)

    @property
    def lost_lines(self) -> int:
        """Samples that found the output full."""
        return self._sink.total_lost

    def on_start(self, about: About) -> None:
        """See View."""
        self._board.on_start(about)

    def on_happenings(self, happened: Happenings) -> None:
        """Refusals are told with the next sample."""
        self._board.on_happenings(happened)
        self._refusals = [*self._refusals, *happened.refusals][-_KEPT_REFUSALS:]

    def on_snapshot(self, snapshot: Snapshot) -> None:
        """One line."""
        self._refusals = [*self._refusals, *snapshot.refusals][-_KEPT_REFUSALS:]
        self._board.on_snapshot(snapshot)
        if not self.is_silent:
            self.show()

    def show(self) -> None:
        """See View."""
        board, snapshot = self._board, self._board.snapshot
        if snapshot is None:
            return
        matches, news, about = self._choice.matches, board.news, board.about
        shots = filter(matches, by_danger(snapshot.workloads))
        sample = sample_fields(
            snapshot,
            shots,
            self._refusals,
            news.explosions,
            news.losses,
            about.missing,
            about.counts_refusals,
        )
        self._refusals = []
        self._sink.write([orjson.dumps(sample, option=orjson.OPT_APPEND_NEWLINE)])


class PlainView(View):
    """Tables one below the other, for pipes and files: every workload, no colours."""

    def __init__(self, choice: Choice, source: str, notes: Sequence[str] = ()) -> None:
        """Writes to standard output.

        Args:
            choice: what is shown, in which order.
            source: where the numbers come from.
            notes: what the user should know, above each table.

        Raises:
            OutputError: it is closed.
        """
        self._board = Board()
        self._choice, self._source, self._fixed_notes = choice, source, notes
        self._console = _console()

    def on_start(self, about: About) -> None:
        """See View."""
        self._board.on_start(about)

    def on_happenings(self, happened: Happenings) -> None:
        """Told with the next table."""
        self._board.on_happenings(happened)

    def on_snapshot(self, snapshot: Snapshot) -> None:
        """A table."""
        self._board.on_snapshot(snapshot)
        if not self.is_silent:
            self.show()

    def _notes(self) -> list[str]:
        missing = [
            f"not seen: {entry['what']}: {entry['effect']} ({entry['remedy']})"
            for entry in self._board.about.missing
        ]
        return [*self._fixed_notes, *missing]

    def show(self) -> None:
        """See View."""
        if self._board.snapshot is None:
            return
        width = self._console.width
        lines = frame(self._board, self._choice, self._source, self._notes(), width)
        self._console.print(Group(*lines))
        self._console.print()
        self._console.file.flush()


class RefreshedView(PlainView):
    """The whole terminal, drawn anew with each sample: one task, and no keys but Ctrl-C."""

    def __init__(self, choice: Choice, source: str, notes: Sequence[str] = ()) -> None:
        """Needs a terminal."""
        super().__init__(choice, source, notes)
        # Without a thread of its own: rich starts one only to refresh by itself.
        self._live = Live(
            console=self._console,
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> RefreshedView:
        """Begin."""
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the terminal as it was."""
        self._live.stop()

    def show(self) -> None:
        """See View."""
        width, height = self._console.size
        lines = frame(self._board, self._choice, self._source, self._notes(), width, height)
        self._live.update(Group(*lines), refresh=True)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """As every other writer tells it; rich itself would leave with exit code 1."""
        raise ReaderGone from None


def is_terminal() -> bool:
    """Whether standard output can be drawn on."""
    console = _console()
    return console.is_terminal and not console.is_dumb_terminal


def _console() -> Console:
    if sys.stdout is None:
        raise OutputError("standard output is closed: redirect it to a file")
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors=NEAREST)  # a locale may lack what a name needs
    console = _Console(highlight=False, markup=False, emoji=False)
    if not (console.is_terminal or _has_known_width()):
        console.width = _WIDTH_OF_FILES
    console.width = max(_LEAST_WIDTH, min(console.width, _MOST_WIDTH))  # COLUMNS may say anything
    return console


def _has_known_width() -> bool:
    """Whether rich finds a width: in COLUMNS, or of any terminal that this process has."""
    return os.environ.get("COLUMNS", "").isdigit() or any(map(os.isatty, range(3)))
