"""A collector behind a socket: connected to again and again, and never waited for."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
from collections import deque

from threadtrace.deadlines import TooLate, within
from threadtrace.delivery.buffer import Rank
from threadtrace.delivery.outlet import DescriptorOutlet

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 30.0
_CONNECT_SECONDS = 10.0
_SEND_BUFFER_BYTES = 1 << 16
_READ_BYTES = 1 << 16

# What was sent and may still lie in the kernel, here or there, when the reader dies: its receive
# buffer and our send buffer. So much is sent again to the next reader, who knows an event by
# agent.id and event.sequence.
_REPEATED_BYTES = 1 << 18

# A peer whose machine is gone answers nothing at all, tcp(7).
_USER_TIMEOUT_MILLISECONDS = 30_000

Endpoint = str | tuple[str, int]


class ConnectionOutlet(DescriptorOutlet):
    """Newline-delimited JSON over TCP or a Unix socket."""

    def __init__(self, name: str, max_buffer_bytes: int, family: int, endpoint: Endpoint) -> None:
        """See Outlet.

        Args:
            name: as on the command line.
            max_buffer_bytes: see LineBuffer.
            family: of the address.
            endpoint: a path, or a numeric address and a port: names would have to be looked up.
        """
        super().__init__(name, max_buffer_bytes)
        self._family, self._endpoint = family, endpoint
        self._socket: socket.socket | None = None
        self._task: asyncio.Task[None] | None = None
        self._gone = asyncio.Event()
        self._sent: deque[tuple[Rank, bytes]] = deque()
        self._sent_bytes = 0

    def open(self) -> None:
        """Nothing: the collector may come later."""

    def start(self) -> None:
        """See Outlet."""
        self._task = asyncio.get_running_loop().create_task(self._keep_connected())

    def send(self, data: memoryview) -> int:
        """See DescriptorOutlet."""
        assert self._socket is not None
        return self._socket.send(data, socket.MSG_NOSIGNAL)

    def on_sent(self, lines: list[tuple[Rank, bytes]]) -> None:
        """See DescriptorOutlet."""
        super().on_sent(lines)
        self._sent.extend(lines)
        self._sent_bytes += sum(len(line) for _, line in lines)
        while self._sent_bytes > _REPEATED_BYTES:
            self._sent_bytes -= len(self._sent.popleft()[1])

    def on_error(self, error: OSError) -> None:
        """See DescriptorOutlet."""
        self._disconnect(error.strerror or str(error))

    async def finish(self, seconds: float) -> None:
        """See Outlet; then hang up so that the other side reads to the end."""
        await super().finish(seconds)
        if self._socket is not None:
            # The other side hangs up in answer, while other outputs still bring on what waits.
            asyncio.get_running_loop().remove_reader(self._fd)
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """See Outlet."""
        if self._task is not None:
            self._task.cancel()
        self._hang_up()

    async def _keep_connected(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                await self._connect()
                pause = _FIRST_PAUSE_SECONDS
                await self._gone.wait()
            except (OSError, TooLate) as error:
                self.complain(_reason(error))
            # Not all agents of a cluster at the same moment.
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _connect(self) -> None:
        connecting = socket.socket(self._family, socket.SOCK_STREAM)
        try:
            connecting.setblocking(False)
            connecting.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
            if self._family != socket.AF_UNIX:
                connecting.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                connecting.setsockopt(
                    socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MILLISECONDS
                )
            loop = asyncio.get_running_loop()
            await within(_CONNECT_SECONDS, loop.sock_connect(connecting, self._endpoint))
        except BaseException:
            connecting.close()
            raise
        self._gone.clear()
        self._socket, self._fd = connecting, connecting.fileno()
        loop.add_reader(self._fd, self._on_readable)
        self.recovered()
        self.flush()

    def _on_readable(self) -> None:
        """Collectors say nothing, until they hang up."""
        assert self._socket is not None
        try:
            if self._socket.recv(_READ_BYTES):
                return
            reason = "the other side hung up"
        except BlockingIOError:
            return
        except OSError as error:
            reason = error.strerror or str(error)
        self._disconnect(reason)

    def _disconnect(self, reason: str) -> None:
        self._hang_up()
        self.take_back()
        self.written -= len(self._sent)
        self.buffer.put_back(list(self._sent))
        self._sent.clear()
        self._sent_bytes = 0
        self.complain(reason)
        self._gone.set()

    def _hang_up(self) -> None:
        if self._socket is None:
            return
        self.stop_waiting()
        asyncio.get_running_loop().remove_reader(self._fd)
        self._socket.close()
        self._socket, self._fd = None, -1


def _reason(error: Exception) -> str:
    if isinstance(error, TooLate):
        return f"no connection within {_CONNECT_SECONDS:g} s"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)  # asyncio's own words repeat the address
    return str(error)
