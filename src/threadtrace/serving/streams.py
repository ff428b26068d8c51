"""What has no end: the stream's own lines, and the events as a run of its own for each reader."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

from threadtrace.connection import Stream
from threadtrace.serving.asked import number
from threadtrace.serving.history import History
from threadtrace.serving.replies import LINES, Refused, headers_of

OpenStream = Callable[[], Stream]


class Bell:
    """Wakes all who wait, with one future for all of them."""

    def __init__(self) -> None:
        """Nobody waits."""
        self._news: asyncio.Future[None] | None = None
        self.is_last = False
        """Whether nothing will be new any more."""

    async def wait(self) -> None:
        """Until it rings."""
        if self._news is None:
            self._news = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._news)

    def ring(self) -> None:
        """There is something new."""
        news, self._news = self._news, None
        if news is not None:
            news.set_result(None)


class HistoryReader:
    """A reader at its place in the window."""

    def __init__(self, history: History, after: int | None) -> None:
        """Of what follows that number; None: of what comes from now on."""
        self._history = history
        self._after = history.newest if after is None else after

    def read(self, max_bytes: int) -> bytes:
        """What comes next, about so much; empty when there is nothing new.

        Raises:
            EOFError: what comes next is not kept any more.
        """
        if self._after is None:
            # There was no line yet when it came.
            if self._history.oldest is None:
                return b""
            self._after = self._history.oldest - 1
        page = self._history.read(self._after, max_bytes)
        if page is None:
            raise EOFError
        self._after = page.last_sequence
        return page.lines

    def close(self) -> None:
        """It reads no more."""


def open_history(history: History, request: web.BaseRequest) -> OpenStream:
    """What ``/v1/events`` was asked for.

    Raises:
        Refused: it is not kept any more, or nothing of the kind.
    """
    after_text, agent = request.query.get("after"), request.query.get("agent")
    after = number(after_text)
    if after_text is not None and after is None:
        raise Refused(400, '"after" must be the event.sequence of the last line that was read')
    if agent is not None and agent != history.agent_id:
        raise _gone(
            history, "this is another run of the agent: begin anew, without after and agent"
        )
    if after is not None and not history.holds(after):
        raise _gone(history, "what follows is not kept: begin without after, or after oldest - 1")
    return lambda: HistoryReader(history, after)


async def tell(
    request: web.BaseRequest,
    open_stream: OpenStream,
    bell: Bell,
    chunk_bytes: int,
) -> web.StreamResponse:
    """Send what the stream gives, until it ends, or the reader goes.

    Nothing is read from it before there is room for it, and every chunk is one turn of the loop.
    """
    response = web.StreamResponse(headers=headers_of(LINES))
    response.force_close()
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    stream = open_stream()
    try:
        while True:
            chunk = stream.read(chunk_bytes)
            if chunk:
                await send(request, response, chunk)
            elif bell.is_last:
                break
            else:
                await bell.wait()
    except EOFError:  # too slow: it comes again, and is told what is kept
        pass
    finally:
        stream.close()
    await response.write_eof()
    return response


async def send(request: web.BaseRequest, response: web.StreamResponse, chunk: bytes) -> None:
    """One chunk, and wait until there is room for another. Others have their turn in any case."""
    await response.write(chunk)
    await request.writer.drain()
    await asyncio.sleep(0)


def _gone(history: History, text: str) -> Refused:
    return Refused(410, text, agent=history.agent_id, oldest=history.oldest)
