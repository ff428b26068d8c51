"""How a running command is told to end."""

from __future__ import annotations

import os
import signal
from types import FrameType, TracebackType
from typing import Any


class StopSignal:
    """Waits for SIGINT, SIGTERM and SIGHUP, so that they end the loop between two ticks.

    Not during start-up: there they end the process at once, and with it all that it attached.
    """

    _SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.number: int | None = None
        self._read_fd, self._write_fd = -1, -1
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopSignal:
        self._read_fd, self._write_fd = os.pipe()  # not pipe2: replays run on a Mac, too
        for fd in (self._read_fd, self._write_fd):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        for number in self._SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                self._previous[number] = signal.signal(number, self._stop)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(-1)
        os.close(self._read_fd)
        os.close(self._write_fd)

    def fileno(self) -> int:
        """A descriptor that is readable once a signal came."""
        return self._read_fd

    def is_set(self) -> bool:
        """Whether the agent was told to end."""
        return self.number is not None

    @property
    def exit_code(self) -> int:
        """As shells tell of a process that a signal ended; 0 without a signal."""
        return 0 if self.number is None else 128 + self.number

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        self.number = self.number or number
