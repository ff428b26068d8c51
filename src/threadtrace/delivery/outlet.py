"""What all destinations have in common: a buffer before them, and nobody who waits for them."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator

from threadtrace.delivery.buffer import Entry, LineBuffer, Rank
from threadtrace.delivery.errors import ReaderGone
from threadtrace.errors import OutputError
from threadtrace.log import warn
from threadtrace.model.cost import DeliveryState

CHUNK_BYTES = 1 << 16
"""So much is handed to a destination at a time."""
# So many of these before the agent has its turn again.
_CHUNKS_AT_ONCE = 16
_CHECK_SECONDS = 0.05


class Outlet(ABC):
    """Takes lines at any time and never waits; ``flush`` brings on what the destination takes.

    What grows: the buffer, up to its bound. What finds no room is counted.
    """

    def __init__(self, name: str, max_buffer_bytes: int) -> None:
        """Nothing is open yet.

        Args:
            name: as on the command line.
            max_buffer_bytes: see LineBuffer.
        """
        self.name = name
        self.buffer = LineBuffer(max_buffer_bytes)
        # A tick may be larger than the buffer: what the destination takes at once needs no room.
        self._piece_bytes = min(CHUNK_BYTES, max_buffer_bytes // 4)
        self.written = 0
        """Lines that the destination took."""
        self.error: Exception | None = None
        """What ended it while nobody wrote; raised by the next ``flush``."""
        self.on_error_of_loop: Callable[[], None] | None = None
        """Called when ``error`` is set."""
        self._is_failing = False
        self._told_lost = 0

    @abstractmethod
    def open(self) -> None:
        """Before the agent starts.

        Raises:
            OutputError: it cannot be used.
        """

    def start(self) -> None:  # noqa: B027, most need none
        """The event loop runs."""

    @abstractmethod
    def flush(self) -> None:
        """Bring on what the destination takes now.

        Raises:
            ReaderGone: nobody will ever read what is written.
            OutputError: nothing can be written any more.
        """

    def reopen(self) -> None:  # noqa: B027, likewise
        """Asked for by SIGHUP: a file may have been renamed."""

    def write(self, lines: Iterable[bytes], rank: Rank) -> None:
        """Behind what waits already. See ``flush`` for what is raised."""
        for piece in _pieces(lines, self._piece_bytes):
            self.buffer.add(piece, rank)
            self.flush()

    def take_lost(self) -> int:
        """Lines dropped since the last call."""
        lost = self.buffer.lost - self._told_lost
        self._told_lost = self.buffer.lost
        return lost

    @property
    def has_pending(self) -> bool:
        """Whether something waits for the destination."""
        return bool(self.buffer)

    @property
    def state(self) -> DeliveryState:
        """For metrics."""
        return DeliveryState(
            self.name, self.written, self.buffer.lost, self.buffer.size, not self._is_failing
        )

    async def finish(self, seconds: float) -> None:
        """Bring on what waits, within that time; what is left is lost, and counted."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        try:
            while self.has_pending and loop.time() < until:
                self.flush()
                if self.has_pending:
                    await asyncio.sleep(_CHECK_SECONDS)
        finally:
            self.buffer.drop_all()

    @abstractmethod
    def close(self) -> None:
        """For good."""

    def complain(self, reason: str) -> None:
        """Once, until it works again."""
        if not self._is_failing:
            self._is_failing = True
            warn(
                f"{self.name}: {reason}; events wait, and are dropped and counted beyond the buffer"
            )

    def recovered(self) -> None:
        """It works."""
        if self._is_failing:
            self._is_failing = False
            warn(f"{self.name} can be written again")


class DescriptorOutlet(Outlet):
    """One that writes to a descriptor which says when it takes more."""

    def __init__(self, name: str, max_buffer_bytes: int) -> None:
        """See Outlet."""
        super().__init__(name, max_buffer_bytes)
        self._fd = -1
        self._chunk: list[Entry] = []
        self._pending = memoryview(b"")
        self._waits = False

    @property
    def has_pending(self) -> bool:
        """See Outlet."""
        return bool(self._pending) or bool(self.buffer)

    @abstractmethod
    def send(self, data: memoryview) -> int:
        """So many bytes were taken.

        Raises:
            BlockingIOError: none now.
            OSError: it cannot be written to.
        """

    @abstractmethod
    def on_error(self, error: OSError) -> None:
        """It cannot be written to."""

    def on_sent(self, lines: list[Entry]) -> None:
        """These are on their way."""
        self.written += sum(not entry.is_repeat for entry in lines)

    def flush(self) -> None:
        """See Outlet."""
        if self.error is not None:
            raise self.error
        if self._fd < 0:
            return
        try:
            for _ in range(_CHUNKS_AT_ONCE):
                if not self._send_chunk():
                    return
        except BlockingIOError:
            pass
        except OSError as error:
            self.on_error(error)
            return
        self._wait()

    def _send_chunk(self) -> bool:
        """False where there is nothing more."""
        if not self._pending:
            self._chunk = self.buffer.take(CHUNK_BYTES)
            if not self._chunk:
                return False
            self._pending = memoryview(b"".join(entry.line for entry in self._chunk))
        while self._pending:
            self._pending = self._pending[self.send(self._pending) :]
        self.recovered()
        self.on_sent(self._chunk)
        self._chunk = []
        return True

    def _wait(self) -> None:
        """Until it takes more; at the end of a program without a loop, ``finish`` asks again."""
        if self._waits:
            return
        with contextlib.suppress(RuntimeError, PermissionError):  # no loop; no polling of this one
            asyncio.get_running_loop().add_writer(self._fd, self._on_writable)
            self._waits = True

    def _on_writable(self) -> None:
        self.stop_waiting()
        try:
            self.flush()
        except (ReaderGone, OutputError) as error:
            self.error = error
            if self.on_error_of_loop is not None:
                self.on_error_of_loop()

    def stop_waiting(self) -> None:
        """Nobody asks whether it takes more."""
        if self._waits:
            self._waits = False
            asyncio.get_running_loop().remove_writer(self._fd)

    def take_back(self) -> None:
        """What was on its way, or a part of it, has not arrived."""
        self.buffer.put_back(self._chunk)
        self._chunk, self._pending = [], memoryview(b"")

    async def finish(self, seconds: float) -> None:
        """See Outlet."""
        try:
            await super().finish(seconds)
        finally:
            self._give_up_chunk()

    def _give_up_chunk(self) -> None:
        self.buffer.lost += sum(not entry.is_repeat for entry in self._chunk)
        self._chunk, self._pending = [], memoryview(b"")


def _pieces(lines: Iterable[bytes], max_bytes: int) -> Iterator[list[bytes]]:
    piece: list[bytes] = []
    size = 0
    for line in lines:
        if piece and size + len(line) > max_bytes:
            yield piece
            piece, size = [], 0
        piece.append(line)
        size += len(line)
    if piece:
        yield piece
