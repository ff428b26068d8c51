"""A collector behind a socket: connected to again and again, and never waited for."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import struct
from collections import deque

from threadtrace.deadlines import TooLate, within
from threadtrace.delivery.buffer import Entry
from threadtrace.delivery.outlet import DescriptorOutlet
from threadtrace.model.cost import DeliveryState

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 30.0
_CONNECT_SECONDS = 10.0
# A connection that lasts that long is one; before, whoever accepts may only hang up again.
_PROVEN_SECONDS = 5.0
_GOODBYE_SECONDS = 1.0
_SEND_BUFFER_BYTES = 1 << 16
_READ_BYTES = 1 << 16

# What was sent and may still lie in the kernel, here or there, when the reader dies. It is sent
# again to the next reader, who knows an event by agent.id and event.sequence. At least so much; and
# twice the widest window that was seen, since the other side's receive buffer holds more than it
# announces, and may have grown since it was looked at.
_REPEATED_BYTES = 1 << 18
# tcpi_snd_wnd in struct tcp_info, include/uapi/linux/tcp.h, since Linux 5.4.
_WINDOW_OFFSET = 228
_WINDOW = struct.Struct("=I")

# A peer whose machine is gone answers nothing; one that reads nothing for as long is cut, too.
_USER_TIMEOUT_MILLISECONDS = 300_000
_KEEPALIVE = {socket.TCP_KEEPIDLE: 30, socket.TCP_KEEPINTVL: 10, socket.TCP_KEEPCNT: 6}

Endpoint = str | tuple[str, int]


class ConnectionOutlet(DescriptorOutlet):
    """Newline-delimited JSON over TCP or a Unix socket.

    What grows, beside the buffer: what was sent last, see above.
    """

    def __init__(
        self, name: str, max_buffer_bytes: int, family: socket.AddressFamily, endpoint: Endpoint
    ) -> None:
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
        self._is_ending = False
        self._connected_s = 0.0
        self._sent: deque[Entry] = deque()
        self._sent_bytes = 0
        self._window_bytes = 0

    @property
    def state(self) -> DeliveryState:
        """See Outlet."""
        return super().state._replace(is_connected=self._socket is not None)

    def open(self) -> None:
        """Nothing: the collector may come later."""

    def start(self) -> None:
        """See Outlet."""
        self._task = asyncio.get_running_loop().create_task(self._keep_connected())

    def send(self, data: memoryview) -> int:
        """See DescriptorOutlet."""
        assert self._socket is not None
        return self._socket.send(data, socket.MSG_NOSIGNAL)

    def on_sent(self, lines: list[Entry]) -> None:
        """See DescriptorOutlet."""
        super().on_sent(lines)
        self._sent.extend(lines)
        self._sent_bytes += sum(len(entry.line) for entry in lines)
        self._window_bytes = max(self._window_bytes, self._announced_window())
        kept = _REPEATED_BYTES + 2 * self._window_bytes
        while self._sent_bytes > kept:
            self._sent_bytes -= len(self._sent.popleft().line)

    def on_error(self, error: OSError) -> None:
        """See DescriptorOutlet."""
        self._disconnect(error.strerror or str(error))

    def recovered(self) -> None:
        """See Outlet: once the connection has lasted."""
        now_s = asyncio.get_running_loop().time()
        if self._socket is not None and now_s - self._connected_s >= _PROVEN_SECONDS:
            super().recovered()

    async def finish(self, seconds: float) -> None:
        """See Outlet; then say that this was all, and wait until the other side has it.

        What it says meanwhile is read: else the kernel would throw away what it has not got yet.
        """
        await super().finish(seconds)
        self._is_ending = True
        if self._task is not None:
            self._task.cancel()
        if self._socket is None:
            return
        with contextlib.suppress(OSError, TooLate):
            self._socket.shutdown(socket.SHUT_WR)
            await within(_GOODBYE_SECONDS, self._gone.wait())

    def close(self) -> None:
        """See Outlet."""
        if self._task is not None:
            self._task.cancel()
        self._hang_up()

    async def _keep_connected(self) -> None:
        loop = asyncio.get_running_loop()
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                await self._connect()
                loop.call_later(_PROVEN_SECONDS, self.recovered)
                await self._gone.wait()
                if loop.time() - self._connected_s >= _PROVEN_SECONDS:
                    pause = _FIRST_PAUSE_SECONDS
            except (OSError, TooLate) as error:
                self.complain(_reason(error))
            # Not all agents of a cluster at the same moment.
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _connect(self) -> None:
        connecting = socket.socket(self._family, socket.SOCK_STREAM)
        try:
            await self._connect_by(connecting)
        except BaseException:
            connecting.close()
            raise
        loop = asyncio.get_running_loop()
        self._gone.clear()
        self._socket, self._fd = connecting, connecting.fileno()
        self._connected_s = loop.time()
        loop.add_reader(self._fd, self._on_readable)
        self.flush()

    async def _connect_by(self, connecting: socket.socket) -> None:
        connecting.setblocking(False)
        connecting.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        if self._family == socket.AF_UNIX:
            connecting.connect(self._endpoint)  # at once, or not: EAGAIN is a queue that is full
            return
        connecting.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE.items():
            connecting.setsockopt(socket.IPPROTO_TCP, option, value)
        connecting.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MILLISECONDS
        )
        loop = asyncio.get_running_loop()
        await within(_CONNECT_SECONDS, loop.sock_connect(connecting, self._endpoint))

    def _announced_window(self) -> int:
        """How many bytes the other side has room for; 0 where that cannot be told."""
        if self._family == socket.AF_UNIX or self._socket is None:
            return 0
        length = _WINDOW_OFFSET + _WINDOW.size
        info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, length)
        if len(info) < length:
            return 0
        (window,) = _WINDOW.unpack_from(info, _WINDOW_OFFSET)
        return int(window)

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
        if self._is_ending:  # it hangs up in answer
            asyncio.get_running_loop().remove_reader(self._fd)
            self._gone.set()
            return
        self._hang_up()
        self.take_back()
        self.buffer.put_back([entry._replace(is_repeat=True) for entry in self._sent])
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
