"""The directory in which compiled programs are kept, so that a start needs no compiler.

The kernel is given what a file there says, so only a file of the user who would compile is taken,
in a directory of that user's, neither writable by anybody else. Whatever is wrong with either, or
with writing, means that nothing is kept: never an error.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from collections.abc import Iterator

from threadtrace.probe.compiled import Compiled, Maker, Text, decode, encode
from threadtrace.probe.recipe import are_unchanged

VARIABLE = "THREADTRACE_CACHE_DIR"
_DEFAULT_DIRECTORY = "/var/cache/threadtrace"
_DIRECTORY_MODE, _FILE_MODE = 0o700, 0o600
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_MAX_FILES = 8
_MAX_FILE_BYTES = 4 << 20
_KEY_DIGITS_IN_NAME = 16  # enough to tell apart: the file holds the whole key
# As they are named, and what an interrupted writing has left. Others' files are never touched.
_OURS = re.compile(r"[0-9a-f]{16}\.(json|[0-9a-f]{16})")


def cache_directory() -> str | None:
    """Where compiled programs are to be kept, None for nowhere: an empty THREADTRACE_CACHE_DIR."""
    named = os.environ.get(VARIABLE)
    if named is None:
        return _DEFAULT_DIRECTORY if os.geteuid() == 0 else None
    # With a slash at its end a link would be followed.
    return named.rstrip("/") or None


class Shelf:
    """The place of one key's compiled programs."""

    def __init__(self, directory: str | None, key: str) -> None:
        """Touches nothing yet.

        Args:
            directory: see ``cache_directory``.
            key: 64 hexadecimal digits.
        """
        self._directory = directory
        self._key = key
        self._name = f"{key[:_KEY_DIGITS_IN_NAME]}.json"
        self.path: str | None = None
        """The file, once something was put there."""

    def take(self) -> Compiled | None:
        """What is kept; None without it, or where the compiler has changed since."""
        data = None
        with contextlib.suppress(OSError), self._opened() as directory:
            data = _read(directory, self._name)
        text = None if data is None else decode(data, self._key)
        if text is None or not are_unchanged(text.makers):
            return None
        return text.compiled

    def put(self, compiled: Compiled, makers: tuple[Maker, ...]) -> None:
        """Keep it, if that can be; the oldest of too many go."""
        if self._directory is None or not are_unchanged(makers):
            return
        data = encode(Text(compiled, makers), self._key)
        with contextlib.suppress(OSError):
            if self._directory == _DEFAULT_DIRECTORY:  # one that was named has to exist
                with contextlib.suppress(FileExistsError):
                    os.mkdir(self._directory, _DIRECTORY_MODE)
            with self._opened() as directory:
                _write(directory, self._name, data)
                self.path = os.path.join(self._directory, self._name)
                _leave_newest(directory, self._name)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        if self._directory is None:
            raise FileNotFoundError
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        directory = os.open(self._directory, flags)
        try:
            if not _is_ours_alone(os.fstat(directory)):
                raise PermissionError
            yield directory
        finally:
            os.close(directory)


def _is_ours_alone(status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid() and not status.st_mode & _WRITABLE_BY_OTHERS


def _read(directory: int, name: str) -> bytes | None:
    # Not blocking: it may be a named pipe.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with open(os.open(name, flags, dir_fd=directory), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or not _is_ours_alone(status):
            return None
        return file.read(_MAX_FILE_BYTES) if status.st_size <= _MAX_FILE_BYTES else None


def _write(directory: int, name: str, data: bytes) -> None:
    """Under another name first: nobody reads half of it, and two that write do not meet."""
    draft = f"{name.partition('.')[0]}.{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(draft, flags, _FILE_MODE, dir_fd=directory)
    try:
        with open(fd, "wb", buffering=0) as file:
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) :]
        os.rename(draft, name, src_dir_fd=directory, dst_dir_fd=directory)
    except OSError:
        os.unlink(draft, dir_fd=directory)
        raise


def _leave_newest(directory: int, name: str) -> None:
    ages = []
    for found in os.listdir(directory):
        if found != name and _OURS.fullmatch(found):
            status = os.stat(found, dir_fd=directory, follow_symlinks=False)
            ages.append((status.st_mtime_ns, found))
    ages.sort(reverse=True)
    for _, old in ages[_MAX_FILES - 1 :]:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(old, dir_fd=directory)
