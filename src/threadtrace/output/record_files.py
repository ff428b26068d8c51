"""Records of the flight recorder on disk: one directory, bounded, and no disk that fills.

A record is written as ``NAME.part``, under a lock, and gets its name when it is complete. It
consists of whole gzip members whenever it is looked at: a write that fails is taken back.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
import time
from typing import NamedTuple

from threadtrace.errors import OutputError
from threadtrace.output.record_recovery import whole_bytes

_NAME = re.compile(
    r"threadtrace-\d{8}T\d{6}Z-[0-9a-f]{8}-(?:explosion|refused)(?:-\d{1,3})?\.jsonl\.gz"
)
_PART = ".part"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAX_SAME_SECOND = 1000
# So much is asked for at once: the room on the disk and in the budget.
_GRANT_BYTES = 256 * 1024
_MIB = 1024 * 1024
_MIN_FREE_BYTES = 64 * _MIB
_MIN_FREE_SHARE = 0.05


class RecordDirectory:
    """Where records are kept: the oldest go when there is no room for a new one."""

    def __init__(self, path: str, max_total_bytes: int, min_free_bytes: int | None = None) -> None:
        """Try to write there.

        Args:
            path: exists.
            max_total_bytes: of all records, the one that is written included.
            min_free_bytes: that stay free on the file system; by default 5 % of it, at least
                64 MiB.

        Raises:
            OutputError: it is no directory, or nothing can be written there.
        """
        self.path = path
        self._max_total_bytes = max_total_bytes
        self._min_free_bytes = min_free_bytes
        try:
            directory_fd = os.open(path, _DIRECTORY)
            try:
                _try_to_write(directory_fd)
                _complete_left_records(directory_fd)
            finally:
                os.close(directory_fd)
        except OSError as error:
            raise OutputError(
                f"cannot write records to {path}: {error.strerror}; make a directory there that "
                "can be written, or choose another"
            ) from None

    def create(self, time_ns: int, run: str, reason: str) -> RecordFile:
        """A new record, readable by its owner only.

        Args:
            time_ns: since the epoch, for the name.
            run: eight hexadecimal digits of the ``agent.id``.
            reason: ``explosion`` or ``refused``.

        Raises:
            OSError: no such directory any more, no room.
        """
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time_ns // 1_000_000_000))
        stem = f"threadtrace-{moment}-{run}-{reason}"
        directory_fd = os.open(self.path, _DIRECTORY)
        try:
            for number in range(1, _MAX_SAME_SECOND):
                name = f"{stem}-{number}.jsonl.gz" if number > 1 else f"{stem}.jsonl.gz"
                if not _exists(directory_fd, name):
                    with contextlib.suppress(FileExistsError):
                        return RecordFile(self, directory_fd, name)
            raise OSError(errno.EEXIST, "too many records of this second")
        except BaseException:
            os.close(directory_fd)
            raise

    def make_room(self, directory_fd: int, needed_bytes: int) -> None:
        """Remove the oldest records as far as needed, and none where that would not help.

        Raises:
            OSError: ENOSPC: there is no room without them either.
        """
        records = _records(directory_fd)
        removable = [record for record in records if record.is_complete]
        system = os.fstatvfs(directory_fd)
        min_free = self._min_free_bytes
        if min_free is None:
            share = int(system.f_blocks * system.f_frsize * _MIN_FREE_SHARE)
            min_free = max(_MIN_FREE_BYTES, share)
        missing = max(
            min_free + needed_bytes - system.f_bavail * system.f_frsize,
            sum(record.bytes for record in records) + needed_bytes - self._max_total_bytes,
        )
        if missing > sum(record.bytes for record in removable):
            raise OSError(
                errno.ENOSPC,
                f"records have {self._max_total_bytes / _MIB:,.1f} MiB together, and "
                f"{min_free / _MIB:,.1f} MiB have to stay free",
            )
        for record in removable:
            if missing <= 0:
                break
            os.unlink(record.name, dir_fd=directory_fd)
            missing -= record.bytes


class RecordFile:
    """One record that is being written."""

    def __init__(self, directory: RecordDirectory, directory_fd: int, name: str) -> None:
        """Make the file; takes over the descriptor of the directory unless it fails.

        Raises:
            OSError: it is there already, or cannot be made.
        """
        self.name = name
        self.size = 0
        """Bytes, in whole members."""
        self._directory = directory
        self._directory_fd = directory_fd
        self._granted_bytes = 0
        self._fd = os.open(name + _PART, _FILE | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=directory_fd)
        _lock(self._fd)

    def append(self, member: bytes) -> None:
        """A whole member, or nothing.

        Raises:
            OSError: no room, a failing disk, or somebody removed the file.
        """
        if len(member) > self._granted_bytes:
            needed = len(member) + _GRANT_BYTES
            self._directory.make_room(self._directory_fd, needed)
            self._granted_bytes = needed
            # Starts writing what was written so far, so that the end does not have to wait for all
            # of it, and leaves no cache that counts as the agent's memory.
            os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)
        done = 0
        try:
            while done < len(member):
                done += os.pwrite(self._fd, member[done:], self.size + done)
        except OSError:
            self._granted_bytes = 0
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self.size)
            raise
        self.size += done
        self._granted_bytes -= done

    @property
    def is_removed(self) -> bool:
        """Whether somebody deleted it: nobody would ever see what is written now."""
        return os.fstat(self._fd).st_nlink == 0

    def complete(self) -> None:
        """Onto the disk, and under its name; an empty one goes.

        Raises:
            OSError: the disk fails, or somebody removed the file. It is closed all the same.
        """
        try:
            part = self.name + _PART
            if self.size == 0:
                os.unlink(part, dir_fd=self._directory_fd)
                return
            try:
                os.fsync(self._fd)
            finally:
                _rename(self._directory_fd, part, self.name)
            os.fsync(self._directory_fd)
        finally:
            self.close()

    def close(self) -> None:
        """Leave it as it is."""
        os.close(self._fd)
        os.close(self._directory_fd)


class _Record(NamedTuple):
    """A record in the directory, complete or not."""

    name: str
    bytes: int
    is_complete: bool


def _records(directory_fd: int) -> list[_Record]:
    """Oldest first, as their names tell. Nothing but regular files with such a name."""
    found = []
    with os.scandir(directory_fd) as entries:
        for entry in entries:
            is_complete = not entry.name.endswith(_PART)
            if _NAME.fullmatch(entry.name.removesuffix(_PART)):
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode):
                        found.append(_Record(entry.name, status.st_size, is_complete))
    return sorted(found)


def _complete_left_records(directory_fd: int) -> None:
    """Give their names to the records of an agent that was killed; leave those that are written."""
    for record in _records(directory_fd):
        if not record.is_complete:
            with contextlib.suppress(OSError):
                _complete_left_record(directory_fd, record.name)


def _complete_left_record(directory_fd: int, part: str) -> None:
    fd = os.open(part, _FILE, dir_fd=directory_fd)
    try:
        status = os.fstat(fd)
        is_ours = status.st_uid == os.geteuid() and status.st_nlink == 1
        if stat.S_ISREG(status.st_mode) and is_ours and _lock(fd):
            whole = whole_bytes(fd, status.st_size)
            os.ftruncate(fd, whole)
            if whole:
                _rename(directory_fd, part, part.removesuffix(_PART))
            else:
                os.unlink(part, dir_fd=directory_fd)
    finally:
        os.close(fd)


def _rename(directory_fd: int, part: str, name: str) -> None:
    os.rename(part, name, src_dir_fd=directory_fd, dst_dir_fd=directory_fd)


def _try_to_write(directory_fd: int) -> None:
    name = f".threadtrace-{os.getpid()}"
    try:
        os.close(os.open(name, _FILE | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=directory_fd))
    except OSError as error:
        # A disk that is full now may have room when it counts.
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EEXIST):
            raise
    else:
        os.unlink(name, dir_fd=directory_fd)


def _exists(directory_fd: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _lock(fd: int) -> bool:
    """Whether nobody else writes it; some network file systems know no locks."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
