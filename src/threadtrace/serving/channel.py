"""One connection, between asyncio and aiohttp: what aiohttp does not limit is limited here.

aiohttp gets one whole request head at a time, of a bounded size, and nothing else: no body, and the
next request only when the last one is answered. So what a stranger can make it keep, and for how
long, does not depend on how it parses. Until there is a head, a connection costs no handler.
"""

from __future__ import annotations

import asyncio
import enum
import re
import socket
from typing import Protocol

from aiohttp import web

from threadtrace.serving.limits import Limits
from threadtrace.serving.outlet import Outlet
from threadtrace.serving.replies import error_reply, raw

_LOW_WATER_BYTES = 8 << 10

# aiohttp does not take lines without a carriage return; so it says, instead of nobody.
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")

# RFC 8446, section 5.1: ContentType handshake. What follows would be waited for as a line.
_TLS_HANDSHAKE = b"\x16"


class Phase(enum.Enum):
    """What a connection is about."""

    WAITING = enum.auto()
    """For a request: nothing is owed to it."""
    ANSWERING = enum.auto()
    PARTING = enum.auto()
    """All is said; the other side may still take it."""
    LOST = enum.auto()


class House(Protocol):
    """Where connections come in."""

    limits: Limits
    scratch: memoryview
    """Received into by all: what came is copied before another receives."""

    def now(self) -> float:
        """Seconds, of the loop."""

    def handler_for(self, channel: Channel) -> web.RequestHandler:
        """What parses and answers."""

    def left(self, channel: Channel) -> None:
        """It is gone."""


class Channel(asyncio.BufferedProtocol):
    """One connection from its beginning on, before it is known to speak HTTP."""

    def __init__(self, house: House, accepted: socket.socket, is_reserve: bool) -> None:
        """Somebody came.

        Args:
            house: where it is kept.
            accepted: not blocking.
            is_reserve: whether it is one more than there should be, to be told of health only.
        """
        self._house = house
        self._accepted: socket.socket | None = accepted
        self.is_reserve = is_reserve
        self.phase = Phase.WAITING
        self.is_streaming = False
        self.has_asked = False
        """Whether it sent a whole request, once."""
        self.waits_since = house.now()
        self._deadline: float | None = self.waits_since + house.limits.head_seconds
        self._transport: asyncio.Transport | None = None
        self._handler: web.RequestHandler | None = None
        self._received = bytearray()
        self._is_in_head = True
        """Whether a request is being sent, for which the time runs: of the first, from here on."""
        self._is_half_closed = False
        self._is_cut = False
        self._thrown_away = 0
        self._written = 0
        self._taken: tuple[int, float] | None = None
        """How much the other side took, and when it took something the last time."""

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The other side can be read and written."""
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._accepted = transport, None
        if self._is_cut:
            transport.abort()
            return
        transport.set_write_buffer_limits(self._house.limits.chunk_bytes, _LOW_WATER_BYTES)
        limit_reading = getattr(transport, "set_read_buffer_limits", None)
        if limit_reading is not None:  # of TLS, from Python 3.11 on
            limit_reading(self._house.limits.head_bytes)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where to receive."""
        del sizehint
        return self._house.scratch

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes are there."""
        if self.phase is Phase.PARTING:
            self._thrown_away += nbytes
            if self._thrown_away > self._house.limits.linger_bytes:
                self.cut()
            return
        self._received += self._house.scratch[:nbytes]
        self._take_head()

    def eof_received(self) -> bool:
        """The other side sends no more; it may still wait for its answer."""
        self._is_half_closed = True
        is_owed = self.phase is Phase.ANSWERING and not self.is_streaming
        return is_owed and not self._speaks_tls()

    def pause_writing(self) -> None:
        """Enough waits to be taken."""
        if self._handler is not None:
            self._handler.pause_writing()

    def resume_writing(self) -> None:
        """There is room."""
        if self._handler is not None:
            self._handler.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self.phase = Phase.LOST
        if self._transport is not None:
            _break_circles(self._transport)
        handler, self._handler, self._transport = self._handler, None, None
        self._received.clear()
        if handler is not None:
            handler.connection_lost(exc)
        self._house.left(self)

    # What who answers calls.

    def begin(self) -> None:
        """A request is being answered: there is no hurry any more."""
        self._deadline = None

    def finish(self, goes_on: bool) -> None:
        """It is answered: to the next, which may be there already, or to the end."""
        if self.phase is not Phase.ANSWERING:
            return
        if not goes_on:
            self.part()
            return
        self.phase = Phase.WAITING
        self.is_streaming = self._is_in_head = False
        self.waits_since = self._house.now()
        self._deadline = self.waits_since + self._house.limits.idle_seconds
        self._take_head()
        if self.phase is Phase.WAITING:
            if self._is_half_closed:
                self.part()
            elif self._transport is not None:
                self._transport.resume_reading()

    def write(self, data: bytes) -> None:
        """Send that."""
        if self._transport is not None:
            self._written += len(data)
            self._transport.write(data)

    def part(self) -> None:
        """End it when all that was written is taken.

        The other side is given the time to see it: what it sends in the meantime, unread, would
        make the kernel take back the answer.
        """
        transport = self._transport
        if transport is None or self.phase is Phase.PARTING:
            return
        self.phase = Phase.PARTING
        self._received.clear()
        self._deadline = self._house.now() + self._patience()
        if self._is_half_closed or self.has_pending or not transport.can_write_eof():
            if not transport.is_closing():  # that of TLS forgets itself when it is closed twice
                transport.close()
            return
        try:
            transport.write_eof()
        except OSError:  # the other side has gone
            transport.abort()
        else:
            transport.resume_reading()

    def cut(self) -> None:
        """End it now."""
        self._is_cut = True
        if self._transport is not None:
            self._transport.abort()
        elif self._accepted is not None:  # in the handshake of TLS, which fails by this
            try:
                self._accepted.shutdown(socket.SHUT_RDWR)
            except OSError:
                return

    # What the house calls.

    @property
    def transport(self) -> asyncio.Transport | None:
        """None before a handshake is done, and when all is over."""
        return self._transport

    @property
    def is_over(self) -> bool:
        """Whether nothing can be sent any more."""
        return self.phase in (Phase.PARTING, Phase.LOST)

    @property
    def has_pending(self) -> bool:
        """Whether something that was written is not taken yet."""
        return self._transport is not None and self._transport.get_write_buffer_size() > 0

    def is_overdue(self, now: float) -> bool:
        """Whether it had its time; asked once a second."""
        if self.has_pending:
            return self._is_stalled(now)
        self._taken = None
        return self._deadline is not None and now >= self._deadline

    def _is_stalled(self, now: float) -> bool:
        assert self._transport is not None
        if self.phase is Phase.PARTING:
            self._deadline = now + self._patience()
        taken = self._written - self._transport.get_write_buffer_size()
        if self._taken is None or taken != self._taken[0]:
            self._taken = taken, now
        return now - self._taken[1] >= self._house.limits.stall_seconds

    def _patience(self) -> float:
        """How long the end may take; with TLS, what is not taken yet cannot be seen."""
        limits = self._house.limits
        return limits.stall_seconds if self._speaks_tls() else limits.linger_seconds

    def _speaks_tls(self) -> bool:
        transport = self._transport
        return transport is not None and transport.get_extra_info("sslcontext") is not None

    def _take_head(self) -> None:
        """Hand on the next request, if it is whole and nobody is being answered."""
        limit = self._house.limits.head_bytes
        if self.phase is not Phase.WAITING:
            if len(self._received) > limit and self._transport is not None:
                self._transport.pause_reading()
            return
        if not self.has_asked and self._received.startswith(_TLS_HANDSHAKE):
            self._refuse(400, "this is HTTP without TLS: use http://")
            return
        if self._received.startswith((b"\r", b"\n")):  # after a request, by old clients
            self._received = self._received.lstrip(b"\r\n")
        found = _END_OF_HEAD.search(self._received)
        if (len(self._received) if found is None else found.end()) > limit:
            self._refuse(
                431, f"the request line and headers have more than {limit:,} bytes together"
            )
        elif found is not None:
            self._hand_on(found.end())
        elif self._received and not self._is_in_head:
            self._is_in_head = True
            self._deadline = self._house.now() + self._house.limits.head_seconds

    def _hand_on(self, size: int) -> None:
        head = bytes(self._received[:size])
        del self._received[:size]
        self.phase = Phase.ANSWERING
        self.has_asked = True
        # Until it is being answered: should the parser wait for more than this.
        self._deadline = self._house.now() + self._house.limits.head_seconds
        if self._handler is None:
            self._handler = self._house.handler_for(self)
            self._handler.connection_made(Outlet(self))
        try:
            self._handler.data_received(head)
        except Exception:  # of a parser that a stranger outwitted
            self._refuse(400, "this is no request of HTTP/1.1, or has too many headers")

    def _refuse(self, status: int, text: str) -> None:
        self.write(raw(error_reply(status, text)))
        self.part()


def _break_circles(transport: asyncio.Transport) -> None:
    """That of asyncio holds itself by methods of its own, by the other one from Python 3.12 on.

    Each connection would leave two kilobytes behind until a search for garbage, which the agent
    seldom makes.
    """
    for name in ("_read_ready_cb", "_write_ready"):
        vars(transport).pop(name, None)
