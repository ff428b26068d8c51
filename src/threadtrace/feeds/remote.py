"""A running agent, through its socket: on this node, or forwarded from another one by ssh.

Runs wherever Python does: nothing here is Linux's own. docs/remote.md describes the protocol.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson

from threadtrace.errors import UnavailableError
from threadtrace.feed import FeedOutput
from threadtrace.feeds.address import UnixAddress, parse_address
from threadtrace.model.details import ProcessInspection, WorkloadDetails
from threadtrace.report.fields import number, text
from threadtrace.report.notes import Notes
from threadtrace.report.reading import STARTED, Event, EventReader
from threadtrace.restore.decoder import EventDecoder
from threadtrace.restore.details import process_inspection, workload_details
from threadtrace.text import printable

CONNECTING = "connecting"
CONNECTED = "connected"

_MAX_LINE_BYTES = 1 << 20
_MAX_ANSWER_BYTES = 16 << 20
# Some hundred events: five milliseconds until the view has its turn.
_CHUNK_BYTES = 1 << 16

_ANSWER_SECONDS = 2.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 10.0

# An agent that says nothing for that long, or for three of its intervals, is not there any more.
_SILENT_SECONDS = 15.0
_SILENT_INTERVALS = 3


class _Broken(Exception):
    """The connection is of no use any more; the text says why."""


class Remote:
    """See ``feed.Feed``. Connects anew when the connection breaks, for as long as it runs."""

    def __init__(self, url: str) -> None:
        """Does not connect yet.

        Args:
            url: ``unix:/PATH`` or ``tcp://IP:PORT``.

        Raises:
            UsageError: it is no such URL.
        """
        self._address = parse_address(url)
        self.state = CONNECTING
        """``connecting``, ``connected``, or ``lost: WHY, trying again in N s``."""
        self.on_state: Callable[[], None] | None = None
        """Called whenever ``state`` has changed."""
        self.notes = Notes()
        """What was wrong with the events."""

    async def run(self, output: FeedOutput) -> None:
        """Tell the output everything until cancelled.

        Raises:
            UnavailableError: no agent tells its events there. Only at first: once connected, it is
                tried again and again, and ``state`` tells.
        """
        pause = _FIRST_PAUSE_SECONDS
        was_connected = False
        while True:
            try:
                await self._follow(output)
            except (OSError, asyncio.TimeoutError, _Broken) as error:
                was_connected = was_connected or self.state == CONNECTED
                if not was_connected:
                    raise UnavailableError(self._remedy(error)) from None
                if self.state == CONNECTED:
                    pause = _FIRST_PAUSE_SECONDS
                self._tell_state(f"lost: {_reason(error)}, trying again in {pause:g} s")
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def inspect_workload(self, key: str) -> WorkloadDetails | None:
        """See Feed; None, too, where the agent does not answer within two seconds."""
        return workload_details(await self._ask({"get": "workload", "key": key}))

    async def inspect_process(self, pid: int) -> ProcessInspection | None:
        """See Feed; None, too, where the agent does not answer within two seconds."""
        return process_inspection(await self._ask({"get": "process", "pid": pid}))

    async def _follow(self, output: FeedOutput) -> None:
        """Tell what one connection tells.

        Raises:
            OSError: it cannot be made, or broke.
            _Broken: likewise, or what it tells is not events.
        """
        reader, decoder = EventReader(self.notes), EventDecoder(output)
        silent_seconds = _SILENT_SECONDS
        async with self._connection({"get": "events"}) as connection:
            rest = b""
            while True:
                part = await _some(connection, silent_seconds)
                *lines, rest = (rest + part).split(b"\n")
                if len(rest) > _MAX_LINE_BYTES:
                    raise _Broken("it sent a line that is too long to be an event")
                for line in lines:
                    event = next(reader.read([line]), None) if line else None
                    if event is not None:
                        self._connected()
                        silent_seconds = _patience(event, silent_seconds)
                        decoder.feed(event)
                    elif not line:
                        decoder.flush()
                    elif self.state != CONNECTED:
                        raise _Broken(_complaint(line))
                await asyncio.sleep(0)  # a long beginning must not hold up the view

    async def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer; an empty one where there is none."""
        try:
            answer = orjson.loads(await asyncio.wait_for(self._answer(request), _ANSWER_SECONDS))
        except (OSError, ValueError, asyncio.TimeoutError):
            return {}
        return answer if isinstance(answer, dict) else {}

    async def _answer(self, request: dict[str, Any]) -> bytes:
        received = bytearray()
        async with self._connection(request) as connection:
            while part := await connection.read(_CHUNK_BYTES):
                received += part
                if len(received) > _MAX_ANSWER_BYTES:
                    raise ValueError("an answer is not that long")
        return bytes(received)

    @asynccontextmanager
    async def _connection(self, request: dict[str, Any]) -> AsyncIterator[asyncio.StreamReader]:
        """One that has just sent the request."""
        address = self._address
        if isinstance(address, UnixAddress):
            connecting = asyncio.open_unix_connection(address.path)
            reader, writer = await asyncio.wait_for(connecting, _SILENT_SECONDS)
        else:
            # A literal address: asyncio looks nothing up for it.
            opening = asyncio.open_connection(address.host, address.port)
            reader, writer = await asyncio.wait_for(opening, _SILENT_SECONDS)
        try:
            writer.write(orjson.dumps(request, option=orjson.OPT_APPEND_NEWLINE))
            yield reader
        finally:
            writer.close()

    def _connected(self) -> None:
        if self.state != CONNECTED:
            self._tell_state(CONNECTED)

    def _tell_state(self, state: str) -> None:
        self.state = state
        if self.on_state is not None:
            self.on_state()

    def _remedy(self, error: Exception) -> str:
        said = f"no events from {self._address}: {_reason(error)}"
        if isinstance(error, PermissionError):
            return f"{said}: the socket belongs to who started the agent: run this as root"
        if isinstance(self._address, UnixAddress):
            return f"{said}: start threadtrace stream or threadtrace top there, as root"
        return (
            f"{said}: forward the agent's socket with ssh -L {self._address}:"
            "/run/threadtrace.sock root@NODE, and run threadtrace stream on the node"
        )


async def _some(connection: asyncio.StreamReader, patience_seconds: float) -> bytes:
    """What comes next.

    Raises:
        _Broken: nothing, for too long or for ever.
    """
    try:
        part = await asyncio.wait_for(connection.read(_CHUNK_BYTES), patience_seconds)
    except asyncio.TimeoutError:
        raise _Broken(f"it said nothing for {patience_seconds:g} s") from None
    if not part:
        raise _Broken("it hung up")
    return part


def _patience(event: Event, otherwise: float) -> float:
    """How long an agent may be silent, as it tells when it starts."""
    interval = number(event.details, "interval_seconds") if event.name == STARTED else None
    return otherwise if interval is None else max(_SILENT_SECONDS, _SILENT_INTERVALS * interval)


def _complaint(line: bytes) -> str:
    """What came in the place of the first event."""
    try:
        said = orjson.loads(line)
    except orjson.JSONDecodeError:
        said = None
    error = text(said, "error") if isinstance(said, dict) else None
    if error is not None:
        return printable(error)
    return "what answers there tells no events: it may be another version of threadtrace"


def _reason(error: Exception) -> str:
    if isinstance(error, asyncio.TimeoutError):
        return f"it did not answer within {_SILENT_SECONDS:g} s"
    if isinstance(error, OSError):
        # asyncio's own words repeat the address.
        return os.strerror(error.errno) if error.errno else str(error) or type(error).__name__
    return str(error)
