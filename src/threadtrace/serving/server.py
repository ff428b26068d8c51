"""The HTTP server of the agent: in its loop, without a thread, an executor or a process, ever.

Of aiohttp it uses the parser, the keeping of connections and the writing of answers. Not its
application, whose routes serve files through an executor, nor its runner, which would wait for a
minute at the end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from threadtrace.log import warn
from threadtrace.serving.addresses import Listening
from threadtrace.serving.answers import Answers
from threadtrace.serving.asked import HEALTH_PATHS, Asked
from threadtrace.serving.channel import Channel, Phase
from threadtrace.serving.door import Door, forget_frames
from threadtrace.serving.limits import Limits
from threadtrace.serving.replies import Refused, Reply, busy, error_reply
from threadtrace.serving.sources import Sources
from threadtrace.serving.streams import Bell, OpenStream, open_history, send, tell
from threadtrace.serving.tls import ServerTls
from threadtrace.serving.token import TokenFile

_STREAM_PATHS = ("/v1/events", "/v1/view")
_METHODS = ("GET", "HEAD")
_GOODBYE_SECONDS = 0.5
_POLL_SECONDS = 0.01
_LAST_TURNS = 20

# What aiohttp has to say is about strangers, and may be said ten thousand times.
_SILENT = logging.Logger("threadtrace.serving")
_SILENT.addHandler(logging.NullHandler())
_SILENT.disabled = True

_HANDLER_OPTIONS: dict[str, Any] = {
    "access_log": None,
    "logger": _SILENT,
    "tcp_keepalive": False,  # the door does
    "lingering_time": 0,  # the channel does
}


class Server:
    """Answers in the loop that runs, from ``start`` to ``close``."""

    def __init__(
        self,
        listening: Sequence[Listening],
        sources: Sources,
        token: TokenFile | None = None,
        tls: ServerTls | None = None,
        limits: Limits | None = None,
    ) -> None:
        """Nothing is answered yet.

        Args:
            listening: sockets that are bound; the server closes them.
            sources: what it tells.
            token: who asks has to show; None: nobody has to.
            tls: what the sockets speak; None: plain HTTP. Unix sockets never speak TLS.
            limits: what strangers may cost.
        """
        self._listening = listening
        self._sources = sources
        self._token = token
        self._tls = tls
        self._limits = limits or Limits()
        self._bell = Bell()
        self._answers: Answers | None = None
        self._asked: Asked | None = None
        self._door: Door | None = None
        self._manager: web.Server | None = None
        self._told_of: set[type[BaseException]] = set()

    async def start(self) -> None:
        """Answer from now on."""
        loop = asyncio.get_running_loop()
        self._answers = Answers(loop.time)
        self._asked = Asked(self._sources, self._answers)
        # Whoever hangs up ends the task that answers.
        self._manager = web.Server(self._handle, handler_cancellation=True)
        self._door = Door(self._listening, self._tls, self._limits, self._new_handler)
        self._door.open()

    async def close(self) -> None:
        """Tell readers what is left, hang up, listen no more: within a second."""
        if self._door is None or self._bell.is_last:
            for listening in self._listening:
                listening.close()
            return
        door, loop = self._door, asyncio.get_running_loop()
        door.shut()
        self._bell.is_last = True
        self._bell.ring()
        until = loop.time() + _GOODBYE_SECONDS
        while loop.time() < until and any(map(_is_busy, door.channels)):
            await asyncio.sleep(_POLL_SECONDS)
        await door.clear()
        for _ in range(_LAST_TURNS):
            if not door.channels and self._manager is not None and not self._manager.connections:
                break
            await asyncio.sleep(0)

    def tick(self) -> None:
        """There is something new: after each tick, and after each happening."""
        if self._answers is not None and self._asked is not None:
            self._answers.tick()
            self._asked.forget()
        self._sources.history.end_turn()
        self._bell.ring()

    def reload(self) -> None:
        """Read the token and the certificate anew. What cannot be used is warned of."""
        if self._token is not None:
            self._token.reload()
        if self._tls is not None:
            self._tls.reload()

    def _new_handler(self, channel: Channel) -> web.RequestHandler:
        assert self._manager is not None
        handler = _Handler(self._manager, loop=asyncio.get_running_loop(), **_HANDLER_OPTIONS)
        handler.channel = channel
        return handler

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        assert isinstance(request.protocol, _Handler)
        channel = request.protocol.channel
        channel.begin()
        response: web.StreamResponse | None = None
        try:
            response = await self._respond(request, channel)
        finally:
            goes_on = response is not None and bool(response.keep_alive)
            # aiohttp has some words to write yet.
            asyncio.get_running_loop().call_soon(channel.finish, goes_on)
        return response

    async def _respond(self, request: web.BaseRequest, channel: Channel) -> web.StreamResponse:
        try:
            reply = self._reply(request, channel)
        except Refused as refused:
            reply = refused.reply
        except Exception as error:
            reply = self._failed(error)
        if isinstance(reply, Reply):
            is_last = channel.is_reserve or request.can_read_body
            return await self._send(request, reply, is_last)
        channel.is_streaming = True
        return await tell(request, reply, self._bell, self._limits.chunk_bytes)

    def _reply(self, request: web.BaseRequest, channel: Channel) -> Reply | OpenStream:
        """An answer, or a stream to be told.

        Raises:
            Refused: neither.
        """
        assert self._asked is not None
        path = request.path
        if path not in HEALTH_PATHS:
            if channel.is_reserve:
                raise busy("too many connections")
            self._check_token(request)
        make = self._asked.paths.get(path)
        if make is None and path not in _STREAM_PATHS:
            known = ", ".join([*self._asked.paths, *_STREAM_PATHS])
            raise Refused(404, f"there is nothing here: ask for one of {known}")
        if request.method not in _METHODS:
            raise Refused(405, "only GET and HEAD are answered", {"Allow": ", ".join(_METHODS)})
        if request.can_read_body:
            raise Refused(413, "a request has no body here")
        return self._stream(request) if make is None else make(request)

    def _stream(self, request: web.BaseRequest) -> OpenStream:
        assert self._door is not None
        if self._bell.is_last:
            raise busy("the agent ends")
        if self._door.streams >= self._limits.streams:
            raise busy(f"{self._limits.streams} others get events already: end one of them")
        if request.path == "/v1/events":
            return open_history(self._sources.history, request)
        return self._sources.listen

    def _check_token(self, request: web.BaseRequest) -> None:
        if self._token is None:
            return
        shown = request.headers.getall("Authorization", [])
        if not shown:
            raise _unauthorized("show the token: Authorization: Bearer TOKEN", "")
        scheme, _, token = shown[0].partition(" ")
        is_bearer = len(shown) == 1 and scheme.lower() == "bearer"
        if not self._token.accepts(token.strip().encode("utf-8", "replace")) or not is_bearer:
            raise _unauthorized("this is not the token", ', error="invalid_token"')

    async def _send(
        self, request: web.BaseRequest, reply: Reply, is_last: bool
    ) -> web.StreamResponse:
        """In one piece where it is small, else in pieces as they are taken."""
        body = b"" if request.method == "HEAD" else reply.body
        limit = self._limits.chunk_bytes
        is_small = len(body) <= limit
        response: web.StreamResponse
        if is_small:
            response = web.Response(status=reply.status, headers=reply.all_headers(), body=body)
        else:
            response = web.StreamResponse(status=reply.status, headers=reply.all_headers())
        if is_last:
            response.force_close()
        await response.prepare(request)
        for start in range(0, 0 if is_small else len(body), limit):
            await send(request, response, body[start : start + limit])
        await response.write_eof()
        return response

    def _failed(self, error: Exception) -> Reply:
        if type(error) not in self._told_of:
            self._told_of.add(type(error))
            warn(f"a request could not be answered: {type(error).__name__}: {error}")
        return error_reply(500, "this could not be answered; the agent's own messages say more")


class _Handler(web.RequestHandler):
    """aiohttp's, whose errors are JSON, and which knows its connection."""

    __slots__ = ("channel",)

    channel: Channel

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The request is none, or was not answered. Nothing of it is given back, or logged."""
        del message
        forget_frames(exc)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer is under way")
        # Its parser tells the number of headers, 128 at most, no other way than it tells nonsense.
        text = "this is no request of HTTP/1.1, or has too many headers"
        reply = error_reply(status, text if status < 500 else "this could not be answered")
        response = web.Response(status=status, headers=reply.all_headers(), body=reply.body)
        response.force_close()
        return response


def _is_busy(channel: Channel) -> bool:
    return channel.phase is Phase.ANSWERING or channel.has_pending


def _unauthorized(text: str, more: str) -> Refused:
    return Refused(401, text, {"WWW-Authenticate": f'Bearer realm="threadtrace"{more}'})
