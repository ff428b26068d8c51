"""What people may change of a feed, whichever it is; each answers with a few words for people."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from threadtrace.screen.board import Board
from threadtrace.screen.figures import duration
from threadtrace.screen.recording_words import recording_words

if TYPE_CHECKING:
    from threadtrace.feeds.live import Live
    from threadtrace.feeds.remote import Remote
    from threadtrace.feeds.replay import Replay

_INTERVALS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_SPEEDS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
_FAST_SECONDS = 0.25


def _neighbour(values: tuple[float, ...], value: float, direction: int) -> float:
    if direction > 0:
        return next((other for other in values if other > value * 1.001), value)
    return next((other for other in reversed(values) if other < value * 0.999), value)


class Control:
    """Of a feed that can do nothing of it."""

    is_replay = False
    """Whether there are positions to go to."""
    is_fast = False
    """Whether snapshots may come many times a second."""

    def __init__(self) -> None:
        self.on_change: Callable[[], None] = lambda: None
        """Called when the source's words have changed between two snapshots."""

    @property
    def source(self) -> str:
        """A few words for the head."""
        return ""

    @property
    def note(self) -> str:
        """A warning for the head; empty while there is none."""
        return ""

    @property
    def interval_seconds(self) -> float:
        """Between two samples, as far as it is known."""
        return 1.0

    def toggle_pause(self, board: Board) -> None:
        """What is shown stays, while counting goes on."""
        board.pause(not board.is_paused)

    def change_interval(self, direction: int) -> str:
        """To the next longer or shorter one."""
        del direction
        return "the interval is the agent's own"

    def seek(self, seconds: int) -> str:
        """Forward or back."""
        del seconds
        return "only a recording can be sought in"

    def step(self, ticks: int) -> str:
        """Forward or back."""
        del ticks
        return "only a recording goes tick by tick"

    def change_speed(self, direction: int) -> str:
        """To the next faster or slower one."""
        del direction
        return "only a recording has a speed"

    def seek_event(self, direction: int) -> str:
        """To the next refusal or explosion, or the one before."""
        del direction
        return "only a recording has a next event"


class LiveControl(Control):
    """Of the agent in this process."""

    def __init__(self, live: Live, words: str = "live", note: str = "") -> None:
        """Of that one.

        Args:
            live: the feed.
            words: what the head says of it.
            note: what is missing here, and why.
        """
        super().__init__()
        self._live, self._words, self._note = live, words, note

    @property
    def is_fast(self) -> bool:  # type: ignore[override]
        """See Control."""
        return self._live.interval_seconds < _FAST_SECONDS

    @property
    def interval_seconds(self) -> float:
        """See Control."""
        return self._live.interval_seconds

    @property
    def source(self) -> str:
        """See Control."""
        return f"{self._words}, every {_length(self._live.interval_seconds)}"

    @property
    def note(self) -> str:
        """See Control."""
        return self._note or self._live.note

    def change_interval(self, direction: int) -> str:
        """See Control."""
        seconds = _neighbour(_INTERVALS, self._live.interval_seconds, direction)
        self._live.interval_seconds = seconds
        return f"a sample every {_length(seconds)}"


class RemoteControl(Control):
    """Of an agent elsewhere."""

    def __init__(self, remote: Remote, url: str, note: str = "") -> None:
        """Of that one."""
        super().__init__()
        self._remote, self._url, self._note = remote, url, note
        remote.on_state = lambda *_: self.on_change()

    @property
    def source(self) -> str:
        """See Control."""
        return f"agent at {self._url}"

    @property
    def note(self) -> str:
        """See Control."""
        state = self._remote.state
        return self._note if state in ("", "connected") else f"{self._url} {state}"


class ReplayControl(Control):
    """Of a recording."""

    is_replay = True
    is_fast = True

    def __init__(self, replay: Replay, name: str) -> None:
        """Of that one, whose file has that name."""
        super().__init__()
        self._replay, self._name = replay, name

    @property
    def source(self) -> str:
        """See Control."""
        replay = self._replay
        position = f"{_clock(replay.position_seconds)}/{_clock(replay.duration_seconds)}"
        if not replay.is_indexed:
            position += f" (read {replay.indexed_ratio:.0%})"
        words = "paused" if replay.is_paused else "end" if replay.is_at_end else ""
        speed = "" if replay.speed == 1 else f"{replay.speed:g}x"
        return " ".join(word for word in ("replay", self._name, position, speed, words) if word)

    @property
    def note(self) -> str:
        """See Control: what of the recording could not be read."""
        replay = self._replay
        return "; ".join(recording_words(replay.notes, replay.node, replay.nodes))

    def toggle_pause(self, board: Board) -> None:
        """The recording stands still."""
        del board
        self._replay.is_paused = not self._replay.is_paused

    def change_interval(self, direction: int) -> str:
        """A recording's interval cannot be changed: its speed is."""
        return self.change_speed(direction)

    def seek(self, seconds: int) -> str:
        """See Control."""
        replay = self._replay
        replay.seek(replay.position_seconds + seconds)
        return ""

    def step(self, ticks: int) -> str:
        """Paused from then on."""
        self._replay.is_paused = True
        self._replay.step(ticks)
        return ""

    def change_speed(self, direction: int) -> str:
        """See Control."""
        self._replay.speed = _neighbour(_SPEEDS, self._replay.speed, direction)
        return f"speed {self._replay.speed:g}x"

    def seek_event(self, direction: int) -> str:
        """See Control."""
        if self._replay.next_event(direction):
            return ""
        return f"no refusals or explosion begin {'after' if direction > 0 else 'before'} this"


def _length(seconds: float) -> str:
    return f"{seconds:g}s" if seconds < 60 else duration(seconds)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
