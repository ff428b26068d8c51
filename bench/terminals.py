"""A command in a pseudo-terminal, as a person before it sees it: keys in, pictures out."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Sequence

from bench.processes import cpu_seconds

COLUMNS, ROWS = 120, 40
_WITHIN_SECONDS = 60.0
_READ_BYTES = 1 << 16
_KEPT_BYTES = 1 << 20
# Terminals of today are asked whether they show a picture as a whole, and say yes.
_ASKS, _YES = b"\x1b[?2026$p", b"\x1b[?2026;2$y"
END_OF_PICTURE = rb"\x1b\[\?2026l"
_IDLE_SECONDS = 0.3


class Terminal:
    """Reads while it waits; call nothing else for long, or the command waits for its reader."""

    def __init__(self, command: Sequence[str]) -> None:
        """Start it; times are those of time.perf_counter."""
        self._fd, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        self._seen = bytearray()
        self.began = self.last_byte = time.perf_counter()
        self._process = subprocess.Popen(
            command, stdin=other, stdout=other, stderr=other, env=environment,
            start_new_session=True,
        )  # fmt: skip
        os.close(other)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def seen(self) -> bytes:
        """What came since the last key, the last megabyte of it."""
        return bytes(self._seen)

    def forget(self) -> None:
        """What was seen."""
        self._seen.clear()

    def type(self, keys: bytes) -> float:
        """The moment in which they were pressed; what was seen before is forgotten."""
        self.forget()
        pressed = time.perf_counter()
        os.write(self._fd, keys)
        return pressed

    def watch(self, seconds: float) -> None:
        """Look on for so long."""
        until = time.perf_counter() + seconds
        while (left := until - time.perf_counter()) > 0:
            self._read(left)

    def wait_for(self, pattern: bytes, seconds: float = _WITHIN_SECONDS) -> float:
        """The moment in which the bytes came that made it match."""
        until = time.perf_counter() + seconds
        while not re.search(pattern, self._seen, re.DOTALL):
            left = until - time.perf_counter()
            if left <= 0:
                raise RuntimeError(f"{pattern!r} did not come: {bytes(self._seen[-2000:])!r}")
            self._read(left)
        return self.last_byte

    def wait_until_quiet(self, seconds: float) -> float:
        """The moment of the last byte before nothing came for so long, once a picture came."""
        self.wait_for(END_OF_PICTURE)
        while self._read(seconds):
            pass
        return self.last_byte

    def wait_until_idle(self) -> None:
        """Until it uses no processor time."""
        until = time.perf_counter() + _WITHIN_SECONDS
        used = -1.0
        while (now := cpu_seconds(self.pid)) > used:
            used = now
            self.watch(_IDLE_SECONDS)
            if time.perf_counter() > until:
                raise RuntimeError("it does not come to rest")

    def end(self) -> None:
        """As a hang-up does, after the last words were read."""
        self._process.send_signal(signal.SIGHUP)
        until = time.perf_counter() + _WITHIN_SECONDS
        while self._process.poll() is None and time.perf_counter() < until:
            self._read(0.05)
        self._process.kill()
        self._process.wait()
        os.close(self._fd)

    def _read(self, seconds: float) -> bool:
        """Whether anything came in that time."""
        if not select.select([self._fd], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._fd, _READ_BYTES)
        except OSError:
            raise RuntimeError(f"it has ended: {bytes(self._seen[-2000:])!r}") from None
        self.last_byte = time.perf_counter()
        self._seen += data
        if _ASKS in data:
            os.write(self._fd, _YES)
        if len(self._seen) > 2 * _KEPT_BYTES:
            del self._seen[:-_KEPT_BYTES]
        return True


@contextlib.contextmanager
def terminal(command: Sequence[str]) -> Iterator[Terminal]:
    """Ended at the end."""
    opened = Terminal(command)
    try:
        yield opened
    finally:
        with contextlib.suppress(RuntimeError):
            opened.end()
