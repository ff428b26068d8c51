"""A command in a pseudo-terminal of its own."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import threading
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

from support.waiting import wait_until

DEADLINE_SECONDS = 30


class Terminal:
    """Runs it as a shell would: with the terminal as its controlling one."""

    def __init__(
        self,
        command: Sequence[str],
        rows: int = 50,
        columns: int = 200,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = termios.tcgetattr(slave)
        self._slave = slave
        self.output = b""
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**os.environ, "TERM": "xterm-256color", **(environment or {})},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._is_closing = False
        self._reader.start()

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(DEADLINE_SECONDS)
        self._is_closing = True
        self._reader.join(DEADLINE_SECONDS)
        os.close(self._slave)
        os.close(self._master)

    def press(self, keys: bytes) -> None:
        """What the keyboard sends."""
        os.write(self._master, keys)

    def resize(self, rows: int, columns: int) -> None:
        """As a window is resized."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def wait_for(self, condition: Callable[[bytes], bool], what: str) -> None:
        """Wait until the output so far is as the condition wants."""

        def holds() -> bool:
            assert self.process.poll() is None, f"it ended: {self.output[-2000:]!r}"
            return condition(self.output)

        wait_until(holds, DEADLINE_SECONDS, lambda: f"{what}: {self.output[-2000:]!r}")

    def end(self) -> int:
        """Wait for its end and for all its output; the exit code."""
        code = self.process.wait(DEADLINE_SECONDS)
        self._is_closing = True
        self._reader.join(DEADLINE_SECONDS)
        return code

    def is_as_before(self) -> bool:
        """Whether echo, line editing and the like are set as they were."""
        return termios.tcgetattr(self._slave) == self.before

    def _read(self) -> None:
        while True:
            readable, _, _ = select.select([self._master], [], [], 0.05)
            if readable:
                try:
                    self.output += os.read(self._master, 1 << 16)
                except OSError:
                    return
            elif self._is_closing:
                return
