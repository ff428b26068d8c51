"""The live view: one feed in, screens out. Computes nothing; ``screen/`` says what is shown."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Coroutine
from typing import Any, ClassVar

from textual import events
from textual.app import App
from textual.binding import Binding, BindingType
from textual.css.query import NoMatches
from textual.screen import Screen

from threadtrace.feed import About, Feed
from threadtrace.model.snapshot import Happenings, Snapshot
from threadtrace.screen.board import Board, Choice
from threadtrace.tui.control import Control
from threadtrace.tui.driver import LoopDriver
from threadtrace.tui.garbage import collect_garbage_seldom
from threadtrace.tui.keys import HelpScreen
from threadtrace.tui.log import EventLogScreen
from threadtrace.tui.redrawn import Redrawn
from threadtrace.tui.workloads import WorkloadsScreen

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_REDRAW_SECONDS = 0.1
"""Between two pictures where a feed tells faster than that."""
_PUT_OFF_SECONDS = 0.01
_MOST_PUT_OFF = 5
_SILENT_SECONDS = 3.0
"""So long without a sample, or three of its intervals, and a feed is said to be silent."""


class TopApp(App[None]):
    """Takes what a feed tells (it is a ``FeedOutput``) and shows it."""

    TITLE = "threadtrace top"
    ENABLE_COMMAND_PALETTE = False
    CSS = "Screen { background: $background; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "stop(2)", "quit", show=False, priority=True),
        Binding("q", "leave", "quit", show=False),
        Binding("question_mark,f1", "help", "help", show=False),
        Binding("e", "log", "events", show=False),
        Binding("space", "pause", "pause", show=False),
        Binding("plus,equals_sign", "interval(1)", "slower", show=False),
        Binding("minus", "interval(-1)", "faster", show=False),
        Binding("left_square_bracket", "seek(-10)", "back", show=False),
        Binding("right_square_bracket", "seek(10)", "forward", show=False),
        Binding("left_curly_bracket", "seek(-60)", "far back", show=False),
        Binding("right_curly_bracket", "seek(60)", "far forward", show=False),
        Binding("comma", "step(-1)", "a tick back", show=False),
        Binding("full_stop", "step(1)", "a tick forward", show=False),
        Binding("less_than_sign", "speed(-1)", "slower", show=False),
        Binding("greater_than_sign", "speed(1)", "faster", show=False),
        Binding("n", "event(1)", "next event", show=False),
        Binding("N", "event(-1)", "event before", show=False),
    ]

    def __init__(
        self, feed: Feed, control: Control, choice: Choice, is_headless: bool = False
    ) -> None:
        """Show that feed.

        Args:
            feed: where snapshots come from.
            control: what of it people may change: pause, interval, position.
            choice: what is shown at first.
            is_headless: for pictures and tests: no terminal is touched.
        """
        if not is_headless:
            for name in ("COLUMNS", "LINES"):  # as wide as the terminal is, whatever these say
                os.environ.pop(name, None)
        super().__init__(driver_class=None if is_headless else LoopDriver)
        self.animation_level = "none"
        self.theme = "ansi-dark"  # the terminal's own colours and background, whichever they are
        self.board = Board()
        self.feed = feed
        self.control = control
        self._choice = choice
        self.signal_number: int | None = None
        self.error: BaseException | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_drawing_late = False
        self._told_s = time.monotonic()
        self._had_note = False
        self._typed_s = time.monotonic()
        self._is_ending = False

    def get_default_screen(self) -> Screen[Any]:
        """See Textual."""
        return WorkloadsScreen(self.board, self.control, self._choice)

    def on_mount(self) -> None:
        """Begin to listen."""
        driver = self._driver
        if isinstance(driver, LoopDriver):
            driver.on_gone = lambda: self.action_stop(signal.SIGHUP)
            driver.on_interrupt = lambda: self.action_stop(signal.SIGINT)
        self.control.on_change = self.draw
        self.set_interval(1.0, self._note_silence)
        self.start(collect_garbage_seldom(lambda: self._typed_s))
        self.start(self.feed.run(self))
        if self._is_ending:  # a signal came before there was anything to end
            self.exit()

    async def run_until_signalled(self) -> None:
        """In a terminal, which is left as it was by a signal at any time, too."""
        loop = asyncio.get_running_loop()
        numbers = [n for n in _SIGNALS if signal.getsignal(n) is not signal.SIG_IGN]  # nohup
        for number in numbers:
            loop.add_signal_handler(number, self.action_stop, number)
        try:
            await self.run_async()
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    async def on_event(self, event: events.Event) -> None:
        """Keys that wait are passed over once it is to end."""
        if isinstance(event, events.Key):
            self._typed_s = time.monotonic()
        if not self._is_ending or not isinstance(event, events.Key):
            await super().on_event(event)

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """In the event loop, beside all else; an error of it ends the view."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._end_task)

    def _end_task(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._fail(task.exception())

    def on_start(self, about: About) -> None:
        """See FeedOutput."""
        self.board.on_start(about)
        self.draw()

    def on_happenings(self, happened: Happenings) -> None:
        """See FeedOutput."""
        self.board.on_happenings(happened)
        if happened.refusals or happened.explosions:
            self._draw_soon()

    @property
    def note(self) -> str:
        """What the user should know of the source, on every screen."""
        silent_seconds = time.monotonic() - self._told_s
        interval = max(self.control.interval_seconds, self.board.about.interval_seconds or 0.0)
        patience = max(_SILENT_SECONDS, 3 * interval)
        if self.control.note or self.control.is_replay or silent_seconds < patience:
            return self.control.note
        return f"no sample for {silent_seconds:.0f} s"

    def _note_silence(self) -> None:
        if self.note or self._had_note:
            self._had_note = bool(self.note)
            self.draw()

    def on_snapshot(self, snapshot: Snapshot) -> None:
        """See FeedOutput."""
        self._told_s = time.monotonic()
        self.board.on_snapshot(snapshot)
        self._draw_soon()

    def _draw_soon(self) -> None:
        """Once for all that comes at about the same time."""
        if not self._is_drawing_late:
            self._is_drawing_late = True
            asyncio.get_running_loop().call_later(
                _REDRAW_SECONDS if self.control.is_fast else 0.0, self._draw_late
            )

    def _draw_late(self, times_put_off: int = 0) -> None:
        """A key that is under way goes first: a picture of thousands of rows would hold it up."""
        driver = self._driver
        has_key = isinstance(driver, LoopDriver) and driver.has_key_under_way
        if has_key and times_put_off < _MOST_PUT_OFF:
            loop = asyncio.get_running_loop()
            loop.call_later(_PUT_OFF_SECONDS, self._draw_late, times_put_off + 1)
            return
        self._is_drawing_late = False
        self.draw()

    def draw(self) -> None:
        """Bring the present numbers to the screen, once the terminal has taken the last ones."""
        if not self.is_running:
            return
        driver = self._driver
        if isinstance(driver, LoopDriver) and driver.is_behind:
            driver.call_when_drained(self.draw)
            return
        if self.screen_stack and isinstance(self.screen, Redrawn):
            self.screen.redraw_if_shown()

    def action_stop(self, number: int) -> None:
        """End as a signal would end it."""
        self.signal_number = self.signal_number or number
        self.action_leave()

    def action_leave(self) -> None:
        """End."""
        self._is_ending = True
        self.exit()

    def action_help(self) -> None:
        """Every key."""
        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(self.control))

    def action_log(self) -> None:
        """All that happened."""
        if not isinstance(self.screen, EventLogScreen):
            self.push_screen(EventLogScreen(self.board))

    def action_pause(self) -> None:
        """Let the numbers stay, or go on."""
        self.control.toggle_pause(self.board)
        self.draw()

    def action_interval(self, direction: int) -> None:
        """Between two samples: the next longer or shorter one."""
        self._tell(self.control.change_interval(direction))

    def action_seek(self, seconds: int) -> None:
        """In a recording."""
        self._tell(self.control.seek(seconds))

    def action_step(self, ticks: int) -> None:
        """In a recording."""
        self._tell(self.control.step(ticks))

    def action_speed(self, direction: int) -> None:
        """Of a recording."""
        self._tell(self.control.change_speed(direction))

    def action_event(self, direction: int) -> None:
        """To the next refusal or explosion of a recording, or the one before."""
        self._tell(self.control.seek_event(direction))

    def _tell(self, words: str) -> None:
        if words:
            self.notify(words, timeout=2, markup=False)
        self.draw()

    def release_terminal(self) -> None:
        """After the end: give back what the view opened."""
        if isinstance(self._driver, LoopDriver):
            self._driver.release()

    def _handle_exception(self, error: Exception) -> None:
        """Leave the terminal as it was; the error is told by who started the view."""
        if self._is_ending and isinstance(error, NoMatches):
            return  # a screen that was about to come has lost its widgets already
        self._fail(error)

    def _fail(self, error: BaseException | None) -> None:
        if self.error is None:
            self.error = error
        self._close_messages_no_wait()

    async def on_unmount(self) -> None:
        """Stop listening."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
