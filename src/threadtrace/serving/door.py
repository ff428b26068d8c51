"""Where connections come in: how many there are, who has to go, and when.

aiohttp has no limit on how many there are, and none on the time that a handshake or headers take;
asyncio's own servers accept whoever comes. So the sockets are accepted here, and each connection is
known from its first moment on.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable, Sequence

from aiohttp import web

from threadtrace.serving.addresses import Listening, UnixAddress
from threadtrace.serving.channel import Channel, Phase
from threadtrace.serving.limits import Limits
from threadtrace.serving.tls import ServerTls

# Then whatever else waits in the loop has its turn.
_ACCEPTED_AT_ONCE = 8
_REST_SECONDS = 1.0
_LAST_SECONDS = 0.3
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_RECEIVE_BYTES = 16 << 10

# Of the other side's machine, which may vanish without a word.
_KEEPALIVE_SECONDS = 30
_KEEPALIVE_PROBES = 3


class Door:
    """Lets in as many as there is room for."""

    def __init__(
        self,
        listening: Sequence[Listening],
        tls: ServerTls | None,
        limits: Limits,
        make_handler: Callable[[Channel], web.RequestHandler],
    ) -> None:
        """Closed. To be made in the loop that runs.

        Args:
            listening: where to come in.
            tls: spoken with who does not come through the file system.
            limits: of all.
            make_handler: what parses and answers.
        """
        self.limits = limits
        self.scratch = memoryview(bytearray(_RECEIVE_BYTES))
        self._listening = listening
        self._tls = tls
        self._make_handler = make_handler
        self._loop = asyncio.get_running_loop()
        self._channels: dict[Channel, None] = {}  # oldest first
        self._greetings: set[asyncio.Task[None]] = set()
        self._timers: dict[object, asyncio.TimerHandle] = {}

    @property
    def channels(self) -> list[Channel]:
        """All connections, the oldest first."""
        return list(self._channels)

    @property
    def streams(self) -> int:
        """How many of them get events."""
        return sum(channel.is_streaming for channel in self._channels)

    @property
    def is_resting(self) -> bool:
        """Whether who comes has to wait for a descriptor to be free."""
        return any(listening in self._timers for listening in self._listening)

    def now(self) -> float:
        """Seconds, of the loop."""
        return self._loop.time()

    def handler_for(self, channel: Channel) -> web.RequestHandler:
        """What parses and answers."""
        return self._make_handler(channel)

    def left(self, channel: Channel) -> None:
        """It is gone."""
        self._channels.pop(channel, None)

    def open(self) -> None:
        """Let in who waits, and who comes."""
        for listening in self._listening:
            self._loop.add_reader(listening.socket, self._accept, listening)

    def shut(self) -> None:
        """Let nobody in any more."""
        for listening in self._listening:
            self._loop.remove_reader(listening.socket)
            listening.close()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    async def clear(self) -> None:
        """Who is still there has to go: some turns of the loop."""
        for channel in self.channels:
            channel.cut()
        if self._greetings:  # they fail by that; cancelled, they would leave their sockets open
            await asyncio.wait(self._greetings, timeout=_LAST_SECONDS)

    def _accept(self, listening: Listening) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                accepted, _ = listening.socket.accept()
            except OSError as error:
                if error.errno in _NO_ROOM:
                    self._rest(listening)
                return
            self._admit(accepted, listening)

    def _rest(self, listening: Listening) -> None:
        """There is no descriptor or memory left: it would be told again and again."""
        self._loop.remove_reader(listening.socket)
        self._make_room(self._ordinary())

        def go_on() -> None:
            self._timers.pop(listening, None)
            self._loop.add_reader(listening.socket, self._accept, listening)

        self._timers[listening] = self._loop.call_later(_REST_SECONDS, go_on)

    def _admit(self, accepted: socket.socket, listening: Listening) -> None:
        ordinary = self._ordinary()
        is_reserve = len(ordinary) >= self.limits.connections and not self._make_room(ordinary)
        if is_reserve:
            reserve = [channel for channel in self._channels if channel.is_reserve]
            if len(reserve) >= self.limits.reserve and not self._make_room(reserve):
                accepted.close()
                return
        accepted.setblocking(False)
        is_remote = not isinstance(listening.address, UnixAddress)
        if is_remote:
            _look_after(accepted, self.limits)
        channel = Channel(self, accepted, is_reserve)
        self._channels[channel] = None
        tls = self._tls if is_remote else None
        greeting = self._loop.create_task(self._greet(channel, accepted, tls))
        self._greetings.add(greeting)
        greeting.add_done_callback(self._greetings.discard)
        if self not in self._timers:
            self._timers[self] = self._loop.call_later(self.limits.reap_seconds, self._reap)

    async def _greet(
        self, channel: Channel, accepted: socket.socket, tls: ServerTls | None
    ) -> None:
        try:
            await self._loop.connect_accepted_socket(
                lambda: channel,
                accepted,
                ssl=None if tls is None else tls.context,
                ssl_handshake_timeout=None if tls is None else self.limits.head_seconds,
            )
        except OSError as error:
            # Of TLS, too: the other side speaks another language, or has gone.
            forget_frames(error)
        finally:
            if channel.transport is None:
                self.left(channel)

    def _ordinary(self) -> list[Channel]:
        return [channel for channel in self._channels if not channel.is_reserve]

    def _make_room(self, channels: Sequence[Channel]) -> bool:
        """Let the one go that is owed nothing, for the longest time; who never asked, first."""
        idle = [c for c in channels if c.phase in (Phase.WAITING, Phase.PARTING)]
        if not idle:
            return False
        given_up = min(idle, key=lambda c: (c.has_asked, c.waits_since))
        given_up.cut()
        self.left(given_up)
        return True

    def _reap(self) -> None:
        now = self.now()
        for channel in self.channels:
            if channel.is_overdue(now):
                channel.cut()
        if self._channels:
            self._timers[self] = self._loop.call_later(self.limits.reap_seconds, self._reap)
        else:
            del self._timers[self]


def _look_after(accepted: socket.socket, limits: Limits) -> None:
    """Have the kernel find out when the other machine is gone."""
    milliseconds = int(limits.stall_seconds * 1000)
    with contextlib.suppress(OSError):
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_SECONDS)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_SECONDS // 3)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEPALIVE_PROBES)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)


def forget_frames(error: BaseException | None) -> None:
    """Let go of what it passed through: a connection, in one of whose calls it is kept itself.

    Such a circle would stay until a search for garbage finds it, which the agent seldom makes.
    """
    while error is not None:
        error.__traceback__, error = None, error.__context__
