"""Careful reading of files that other programs own, write and remove at any moment."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Generic, TypeVar

import orjson

# A state file is some tens of KiB, a store of a thousand containers about 1 MiB. What is larger
# is not worth the memory of an agent that must stay small.
MAX_FILE_BYTES = 4 * 1024 * 1024

# NONBLOCK: some stores belong to unprivileged users, who may put a FIFO there.
_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK

# State files are never links, and under a mounted host root an absolute link would lead into the
# agent's own root. Directories may be links: people move /var/log/pods to a larger disk.
_OPEN_FILE = _OPEN | os.O_NOFOLLOW
_OPEN_DIRECTORY = _OPEN | os.O_DIRECTORY

T = TypeVar("T")


def load_json(path: str, max_bytes: int = MAX_FILE_BYTES) -> object | None:
    """Return the JSON document in the regular file at `path`.

    None when it is not there as a whole: truncated, empty, malformed, larger than `max_bytes`,
    or not a regular file.

    Raises OSError when the file cannot be opened or read (a symbolic link cannot).
    """
    descriptor = os.open(path, _OPEN_FILE)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > max_bytes:
            return None
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(status.st_size + 1)
    finally:
        os.close(descriptor)
    if len(content) > status.st_size:  # it is being written
        return None
    try:
        document: object = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    return document


def read_json(path: str) -> object | None:
    """As `load_json`, with None also for a file that cannot be read."""
    try:
        return load_json(path)
    except OSError:
        return None


def list_names(path: str, *, directories_only: bool = False) -> list[str]:
    """Return the names in the directory at `path`, in no order.

    Raises OSError when it cannot be opened or read.
    """
    descriptor = os.open(path, _OPEN_DIRECTORY)
    try:
        with os.scandir(descriptor) as entries:
            return [
                entry.name
                for entry in entries
                if not directories_only or entry.is_dir(follow_symlinks=False)
            ]
    finally:
        os.close(descriptor)


def list_directories(path: str) -> list[str]:
    """Return the names of the directories in the directory at `path`, in no order."""
    return list_names(path, directories_only=True)


def is_listable(path: str) -> bool | None:
    """Whether the directory at `path` can be listed; None when there is no such directory."""
    try:
        os.close(os.open(path, _OPEN_DIRECTORY))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return False
    return True


class Watched(Generic[T]):
    """What one file or directory says, read again only after it has changed.

    Holds one reading at most. While the path is absent or cannot be read the value is `empty`,
    and each call tries again, at the cost of one failing system call.
    """

    __slots__ = ("_empty", "_read", "_stamp", "_value", "path")

    def __init__(self, path: str, read: Callable[[str], T], empty: T) -> None:
        self.path = path
        self._read = read
        self._empty = empty
        self._stamp: tuple[int, ...] | None = None
        self._value = empty

    def value(self) -> T:
        """Return the present reading."""
        try:
            # The stamp is older than the reading: a change in between is seen next time.
            stamp = _stamp(self.path)
            if stamp != self._stamp:
                self._value = self._read(self.path)
                self._stamp = stamp
        except OSError:
            self._stamp = None
            self._value = self._empty
        return self._value


def _stamp(path: str) -> tuple[int, ...]:
    """Return numbers that differ once the file or directory has changed.

    The kernel's time stamps advance by scheduler ticks (up to 10 ms), so a change may leave
    mtime as it was; inode (replaced files), size and link count (subdirectories) tell most of
    those too.
    """
    status = os.stat(path)
    return (
        status.st_mtime_ns,
        status.st_ino,
        status.st_dev,
        status.st_size,
        status.st_nlink,
    )
