"""A terminal driver for Textual that needs no thread: the event loop reads the keys and writes.

Textual's own starts two threads, which a node without a free PID refuses; and with it the view
would be gone when it is needed most. Written bytes wait in the loop while the terminal is slow,
so that the counting beside it never waits for an ssh line.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import time
import tty
from codecs import getincrementaldecoder
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from textual import constants, events
from textual._parser import ParseError
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import (
    KITTY_DISAMBIGUATE_ESCAPE_CODES,
    KITTY_REPORT_ALL_KEYS,
    KITTY_REPORT_ASSOCIATED_TEXT,
    LinuxDriver,
)
from textual.geometry import Size
from textual.message import Message

from threadtrace.screen.encoding import NEAREST, known_encoding

if TYPE_CHECKING:
    from textual.app import App

_READ_BYTES = 1 << 14
_FAREWELL_SECONDS = 1.0
"""How long the last bytes, which bring the terminal back to itself, may take."""
_ASK_MILLISECONDS = 50
_LOOK_AGAIN_SECONDS = 0.001
_DONE_WITHIN_SECONDS = 0.5
"""So long one key may keep the next ones waiting."""
_KITTY_FLAGS = (
    KITTY_DISAMBIGUATE_ESCAPE_CODES | KITTY_REPORT_ALL_KEYS | KITTY_REPORT_ASSOCIATED_TEXT
)
# Longer than Textual waits for the rest of an escape sequence; then it was the key Escape.
_ESCAPE_SECONDS = constants.ESCAPE_DELAY + 0.001


class LoopDriver(LinuxDriver):
    """Reads standard input and writes standard output, which must be terminals."""

    on_gone: Callable[[], None] | None = None
    """Called once when nothing can be read or written any more."""
    on_interrupt: Callable[[], None] | None = None
    """Called for Ctrl-C, before the keys that were pressed earlier and still wait."""

    def __init__(
        self,
        app: App[Any],
        *,
        debug: bool = False,
        mouse: bool = True,
        size: tuple[int, int] | None = None,
    ) -> None:
        """See Textual."""
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        assert sys.__stdout__ is not None
        self._encoding = known_encoding(sys.__stdout__.encoding)
        self._decode = getincrementaldecoder(self._encoding)("replace").decode
        self._parser = XTermParser(debug)
        self._output_fd, self._owns_output = _open_again(sys.__stdout__.fileno())
        # Else Rich is asked at first. Of a terminal that does not know its size it guesses another
        # one than this driver tells, and the view is laid out for the one and the other for ever.
        self._size = size or self._get_terminal_size()
        self._pending = bytearray()
        self._waits_for_terminal = False
        self._is_reading = False
        self._is_gone = False
        self._waiting: deque[Message] = deque()
        self._passed_on_s = 0.0
        self._on_drained: Callable[[], None] | None = None

    @property
    def is_behind(self) -> bool:
        """Whether the terminal has not taken yet what was written before."""
        return self._waits_for_terminal

    def call_when_drained(self, callback: Callable[[], None]) -> None:
        """Once, when it has."""
        self._on_drained = callback

    def write(self, data: str) -> None:
        """See Textual; never waits."""
        if self._is_gone:
            return
        self._pending += data.encode(self._encoding, NEAREST)
        if not self._waits_for_terminal:
            self._write_pending()

    def send_message(self, message: Message) -> None:
        """See Textual; the caller is in the event loop here, so it is at once."""
        self._app.post_message(message)

    def start_application_mode(self) -> None:
        """See Textual."""
        self._loop.add_signal_handler(signal.SIGWINCH, self._tell_size)
        self._tell_size()
        self.write("\x1b[?1049h")
        self._enable_mouse_support()
        self._set_raw()
        self.write("\x1b[?25l\x1b[?1004h")
        if not constants.DISABLE_KITTY_KEY:
            self.write(f"\x1b[>{_KITTY_FLAGS}u")
        self._loop.add_reader(self.fileno, self._read)
        self._is_reading = True
        self._request_terminal_sync_mode_support()
        self._enable_bracketed_paste()
        self._disable_line_wrap()
        if self._must_signal_resume:
            self._must_signal_resume = False
            self.send_message(self.SignalResume())

    def disable_input(self) -> None:
        """See Textual."""
        if not self._is_reading:
            return
        self._is_reading = False
        with suppress(ValueError, OSError):
            self._loop.remove_reader(self.fileno)
        with suppress(ValueError, RuntimeError):
            self._loop.remove_signal_handler(signal.SIGWINCH)
        self._disable_mouse_support()
        with suppress(ParseError, EOFError):
            list(self._parser.feed(""))
        self._parser = XTermParser(self._debug)
        with suppress(termios.error):
            termios.tcflush(self.fileno, termios.TCIFLUSH)

    def close(self) -> None:
        """Bring what is left to the terminal, if it takes it within a second."""
        if self._waits_for_terminal:
            self._loop.remove_writer(self._output_fd)
            self._waits_for_terminal = False
        until = time.monotonic() + _FAREWELL_SECONDS
        asking = select.poll()  # select takes no descriptor above 1,023
        asking.register(self._output_fd, select.POLLOUT)
        while self._pending and not self._is_gone and time.monotonic() < until:
            asking.poll(_ASK_MILLISECONDS)
            self._write_once()
        self._pending.clear()

    def release(self) -> None:
        """Close what this driver opened, after its last use."""
        if self._owns_output:
            self._owns_output = False
            os.close(self._output_fd)
            self._is_gone = True

    def _enable_mouse_support(self) -> None:
        """Clicks and the wheel; every move of a mouse would be traffic on a slow line."""
        if self._mouse:
            self.write("\x1b[?1000h\x1b[?1006h")

    def _disable_mouse_support(self) -> None:
        if self._mouse:
            self.write("\x1b[?1006l\x1b[?1000l")

    def _set_raw(self) -> None:
        try:
            self.attrs_before = termios.tcgetattr(self.fileno)
            raw = termios.tcgetattr(self.fileno)
        except termios.error:
            self.attrs_before = None
            return
        raw[tty.LFLAG] = self._patch_lflag(raw[tty.LFLAG])
        raw[tty.IFLAG] = self._patch_iflag(raw[tty.IFLAG])
        raw[tty.CC][termios.VMIN] = 1
        with suppress(termios.error):
            termios.tcsetattr(self.fileno, termios.TCSANOW, raw)

    def _tell_size(self) -> None:
        size = Size(*self._get_terminal_size())
        self.send_message(events.Resize(size, size))

    def _get_terminal_size(self) -> tuple[int, int]:
        """Of the terminal that is written to; COLUMNS and LINES do not resize it."""
        try:
            width, height = os.get_terminal_size(self._output_fd)
        except OSError:
            width, height = 0, 0
        return width or 80, height or 24

    def _read(self) -> None:
        try:
            data = os.read(self.fileno, _READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lose_terminal()
            return
        for message in self._parser.feed(self._decode(data)):
            self._take(message)
        self._wait_for_rest()

    def _take(self, message: Message) -> None:
        is_interrupt = isinstance(message, events.Key) and message.key == "ctrl+c"
        if is_interrupt and self.on_interrupt is not None:
            self.on_interrupt()
            return
        self._waiting.append(message)
        if len(self._waiting) == 1:
            self._pass_on()

    @property
    def has_key_under_way(self) -> bool:
        """Whether something that was typed has not had its effect yet."""
        return bool(self._waiting) or (
            time.monotonic() - self._passed_on_s < _DONE_WITHIN_SECONDS and self._is_one_under_way()
        )

    def _pass_on(self) -> None:
        """One message after the other: what a key does may decide whom the next is meant for.

        Textual asks for all of one read at once who has the focus; of ``/shop`` in one packet the
        table would get every letter, and the filter none.
        """
        if not self._is_reading:
            self._waiting.clear()
        is_late = time.monotonic() - self._passed_on_s > _DONE_WITHIN_SECONDS
        if self._waiting and (is_late or not self._is_one_under_way()):
            self._passed_on_s = time.monotonic()
            self.process_message(self._waiting.popleft())
        if self._waiting:
            self._loop.call_later(_LOOK_AGAIN_SECONDS, self._pass_on)

    def _is_one_under_way(self) -> bool:
        """From the one with the focus up to the application, which has the last word."""
        if not self._app.screen_stack:
            return False
        focused = self._app.focused or self._app.screen
        return any(node.message_queue_size for node in (*focused.ancestors_with_self, self._app))

    def _wait_for_rest(self) -> None:
        """What may be the beginning of a key is taken for one after a while, and so is the next."""
        if self._parser._timeout_time is not None:
            self._loop.call_later(_ESCAPE_SECONDS, self._tick)

    def _tick(self) -> None:
        if self._is_reading:
            for message in self._parser.tick():
                self._take(message)
            self._wait_for_rest()

    def _write_pending(self) -> None:
        self._write_once()
        if self._pending and not self._waits_for_terminal:
            self._waits_for_terminal = True
            self._loop.add_writer(self._output_fd, self._write_pending)
        elif not self._pending and self._waits_for_terminal:
            self._waits_for_terminal = False
            self._loop.remove_writer(self._output_fd)
            callback, self._on_drained = self._on_drained, None
            if callback is not None:
                callback()

    def _write_once(self) -> None:
        try:
            while self._pending:
                del self._pending[: os.write(self._output_fd, self._pending)]
        except BlockingIOError:
            return
        except OSError:
            self._lose_terminal()

    def _lose_terminal(self) -> None:
        self._pending.clear()
        self.disable_input()
        if not self._is_gone:
            self._is_gone = True
            if self.on_gone is not None:
                self.on_gone()


def _open_again(fd: int) -> tuple[int, bool]:
    """The same terminal, and whether it was opened here.

    Non-blocking is a property of the opened file, which the shell shares: ours must be another.
    Where the terminal has no name here, writes may wait.
    """
    try:
        flags = os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
        return os.open(os.ttyname(fd), flags), True
    except OSError:
        return fd, False
