"""A file: rotated by size and age, followed when it is renamed, whole lines on a full disk."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass

from threadtrace.delivery import whole_lines
from threadtrace.delivery.outlet import CHUNK_BYTES, Outlet
from threadtrace.errors import OutputError
from threadtrace.log import warn

# Of what stands there instead of a file nobody waits for a reader.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
_MODE = 0o600
_TRY_AGAIN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Rotation:
    """When a file is put aside as NAME.1, and what was that as NAME.2, and so on."""

    max_bytes: int | None = None
    """None: however large it gets."""
    max_seconds: float | None = None
    """Since it was opened; None: however old it gets."""
    kept_files: int = 5
    """Beside the one that is written; the oldest go."""

    @property
    def is_wanted(self) -> bool:
        """Whether a file is ever put aside."""
        return self.max_bytes is not None or self.max_seconds is not None


class FileOutlet(Outlet):
    """Appends. Where the disk is full, lines wait, and the file ends with a whole one."""

    def __init__(
        self,
        path: str,
        max_buffer_bytes: int,
        rotation: Rotation | None = None,
        clock: Callable[[], float] = time.monotonic,
        fd: int | None = None,
    ) -> None:
        """See Outlet.

        Args:
            path: of the file.
            max_buffer_bytes: see LineBuffer.
            rotation: None where it is never put aside.
            clock: monotonic, in seconds.
            fd: of a file that is open already, whatever it is called; it stays open.
        """
        super().__init__(path, max_buffer_bytes)
        self._path = path
        self._inherited = fd
        self._rotation = rotation or Rotation()
        self._clock = clock
        self._fd = -1
        self._opened_s = 0.0
        self._rotate_after_s = 0.0
        self._is_astray = False
        """Whether it writes to a file that somebody renamed, for want of a new one."""

    def open(self) -> None:
        """See Outlet."""
        if self._inherited is not None:
            self._open_again(self._inherited)
            return
        try:
            self._open()
        except OSError as error:
            raise OutputError(
                f"cannot write to {self._path}: {error.strerror}; choose another --output"
            ) from None

    def flush(self) -> None:
        """See Outlet. A disk holds up its writers; nothing can be done about that here."""
        if self._fd < 0:
            return
        self.reopen()
        while lines := self.buffer.take(CHUNK_BYTES):
            data = b"".join(entry.line for entry in lines)
            self._rotate_before(len(data))
            appended = whole_lines.append(self._fd, data)
            self.written += appended.lines
            if appended.error is not None:  # full, read-only, stale: it may be mended
                self.buffer.put_back(lines[appended.lines :])
                self.complain(appended.error.strerror or str(appended.error))
                return
            self.recovered()

    def reopen(self) -> None:
        """Where another file, or none, has the name now: that one."""
        if self._inherited is not None or self._has_the_name():
            return
        before = self._fd
        try:
            self._open()
        except OSError as error:
            if not self._is_astray:
                self._is_astray = True
                words = f"cannot be made anew: {error.strerror}"
                warn(f"{self._path} was renamed and {words}; the renamed one is written on")
            return
        self._is_astray = False
        os.close(before)

    def close(self) -> None:
        """See Outlet."""
        if self._fd not in {-1, self._inherited}:
            os.close(self._fd)
        self._fd = -1

    def _open(self) -> None:
        fd = os.open(self._path, _FLAGS | os.O_CREAT, _MODE)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(errno.EINVAL, "it is no regular file any more")
        self._fd = fd
        self._opened_s = self._clock()

    def _open_again(self, fd: int) -> None:
        """To append: else, where a part of a line was taken back, a hole would be left."""
        try:
            self._fd = os.open(f"/proc/self/fd/{fd}", _FLAGS)
        except OSError:
            self._fd = fd

    def _has_the_name(self) -> bool:
        """Whether the file that is written is still the one of that name."""
        own = os.fstat(self._fd)
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return False
        except OSError:
            return True  # it cannot be told
        return (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino)

    def _rotate_before(self, length: int) -> None:
        """Where so many bytes more would be too many, or the time is over."""
        now = self._clock()
        size = os.fstat(self._fd).st_size
        rule = self._rotation
        is_large = rule.max_bytes is not None and size + length > rule.max_bytes
        is_old = rule.max_seconds is not None and now - self._opened_s >= rule.max_seconds
        if not size or not (is_large or is_old) or now < self._rotate_after_s:
            return
        before = self._fd
        try:
            if self._has_the_name():  # else somebody else was quicker
                self._put_aside()
        except OSError as error:
            warn(f"{self._path} cannot be rotated: {error.strerror}; it goes on growing")
        self.reopen()
        if self._fd == before:  # there is no new one: do not shift the others each time
            self._rotate_after_s = now + _TRY_AGAIN_SECONDS

    def _put_aside(self) -> None:
        names = [f"{self._path}.{number}" for number in range(1, self._rotation.kept_files + 1)]
        for name in names:
            if os.path.lexists(name) and not os.path.isfile(name):
                raise OSError(errno.EEXIST, f"{name} is no file")
        for number in range(len(names) - 1, 0, -1):
            if os.path.lexists(names[number - 1]):
                os.replace(names[number - 1], names[number])
        os.replace(self._path, names[0])
