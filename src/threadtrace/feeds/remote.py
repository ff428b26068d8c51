"""A running agent, through its socket or its HTTP server: on this node or elsewhere.

Runs wherever Python does: nothing here is Linux's own. docs/remote.md describes the protocol.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing

import orjson

from threadtrace.errors import UnavailableError
from threadtrace.feed import FeedOutput
from threadtrace.feeds.transport import (
    HTTP_BEGINS,
    NO_ACCESS,
    SPEAKS_HTTP,
    Access,
    Answer,
    Broken,
    Question,
    Refused,
    nobody_answers,
    reason,
    transport_to,
    within,
)
from threadtrace.model.details import ProcessInspection, WorkloadDetails
from threadtrace.report.fields import number, text
from threadtrace.report.notes import Notes
from threadtrace.report.reading import STARTED, Event, EventReader
from threadtrace.restore.decoder import EventDecoder
from threadtrace.restore.details import process_inspection, workload_details
from threadtrace.text import printable, shortened

CONNECTING = "connecting"
CONNECTED = "connected"

_MAX_LINE_BYTES = 1 << 20
_MAX_COMPLAINT = 200

_ANSWER_SECONDS = 2.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 10.0

# An agent that says nothing for that long, or for three of its intervals, is not there any more.
_SILENT_SECONDS = 15.0
_SILENT_INTERVALS = 3


class Remote:
    """See ``feed.Feed``. Connects anew when the connection breaks, for as long as it runs."""

    def __init__(self, url: str, access: Access = NO_ACCESS) -> None:
        """Does not connect yet.

        Args:
            url: see ``address.parse_address``.
            access: for HTTP.

        Raises:
            UsageError: it is no such URL, or has no use for what ``access`` holds.
            ThreadtraceError: a file of ``access`` cannot be used.
        """
        self._transport = transport_to(url, access)
        self.state = CONNECTING
        """``connecting``, ``connected``, or ``lost: WHY, trying again in N s``."""
        self.on_state: Callable[[], None] | None = None
        """Called whenever ``state`` has changed."""
        self.notes = Notes()
        """What was wrong with the events."""

    async def run(self, output: FeedOutput) -> None:
        """Tell the output everything until cancelled; after that nothing is answered any more.

        Raises:
            UnavailableError: no agent tells its events there. Only at first: once connected, it is
                tried again and again, and ``state`` tells.
        """
        try:
            await self._follow_again_and_again(output)
        finally:
            await self.close()

    async def close(self) -> None:
        """Hang up; for who only asked, and did not run it."""
        await self._transport.close()

    async def inspect_workload(self, key: str) -> WorkloadDetails | None:
        """See Feed; None, too, where the agent does not answer within two seconds."""
        return workload_details(await self._ask({"get": "workload", "key": key}))

    async def inspect_process(self, pid: int) -> ProcessInspection | None:
        """See Feed; None, too, where the agent does not answer within two seconds."""
        return process_inspection(await self._ask({"get": "process", "pid": pid}))

    async def _follow_again_and_again(self, output: FeedOutput) -> None:
        pause = _FIRST_PAUSE_SECONDS
        was_connected = False
        while True:
            try:
                await self._follow(output)
            except (OSError, Broken) as error:
                was_connected = was_connected or self.state == CONNECTED
                if not was_connected:
                    said = nobody_answers(self._transport, "events", error)
                    raise UnavailableError(said) from None
                if self.state == CONNECTED:
                    pause = _FIRST_PAUSE_SECONDS
                self._tell_state(f"lost: {reason(error)}, trying again in {pause:g} s")
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _follow(self, output: FeedOutput) -> None:
        """Tell what one connection tells.

        Raises:
            OSError: it cannot be made, or broke.
            Broken: likewise, or what it tells is not events.
        """
        run = _Run(output, self.notes)
        async with aclosing(self._transport.events()) as parts:
            while True:
                run.take(await _some(parts, run.patience_seconds))
                if run.is_told and self.state != CONNECTED:
                    self._tell_state(CONNECTED)
                await asyncio.sleep(0)  # a long beginning must not hold up the view

    async def _ask(self, question: Question) -> Answer:
        """The answer; an empty one where there is none."""
        try:
            return await within(_ANSWER_SECONDS, self._transport.ask(question), "too late")
        except (OSError, Broken):
            return {}

    def _tell_state(self, state: str) -> None:
        self.state = state
        if self.on_state is not None:
            self.on_state()


class _Run:
    """The events of one connection."""

    def __init__(self, output: FeedOutput, notes: Notes) -> None:
        self._reader, self._decoder = EventReader(notes), EventDecoder(output)
        self._rest = b""
        self.is_told = False
        """Whether it has told an event."""
        self.patience_seconds = _SILENT_SECONDS
        """How long it may be silent."""

    def take(self, part: bytes) -> None:
        """The next bytes.

        Raises:
            Broken: they are no events.
        """
        for line in self._lines(part):
            event = next(self._reader.read([line]), None) if line else None
            if event is not None:
                self.is_told = True
                self.patience_seconds = _patience(event, self.patience_seconds)
                self._decoder.feed(event)
            elif not self.is_told:
                raise _complaint(line)
            elif not line:
                self._decoder.flush()

    def _lines(self, part: bytes) -> Iterator[bytes]:
        *lines, self._rest = (self._rest + part).split(b"\n")
        if len(self._rest) > _MAX_LINE_BYTES:
            raise Broken("it sent a line that is too long to be an event")
        yield from lines


async def _some(parts: AsyncGenerator[bytes, None], patience_seconds: float) -> bytes:
    """What comes next.

    Raises:
        Broken: nothing, for too long or for ever, or as of ``Transport.events``.
        OSError: see there.
    """
    silence = f"it said nothing for {patience_seconds:g} s"
    part = await within(patience_seconds, _next(parts), silence)
    if not part:
        raise Broken("it hung up")
    return part


async def _next(parts: AsyncGenerator[bytes, None]) -> bytes:
    return await anext(parts, b"")


def _patience(event: Event, otherwise: float) -> float:
    """How long an agent may be silent, as it tells when it starts."""
    interval = number(event.details, "interval_seconds") if event.name == STARTED else None
    return otherwise if interval is None else max(_SILENT_SECONDS, _SILENT_INTERVALS * interval)


def _complaint(line: bytes) -> Broken:
    """About what came in the place of the first event."""
    if line.startswith(HTTP_BEGINS):
        return Refused(SPEAKS_HTTP)
    try:
        said = orjson.loads(line)
    except orjson.JSONDecodeError:
        said = None
    error = text(said, "error") if isinstance(said, dict) else None
    if error is not None:
        return Refused(shortened(printable(error), _MAX_COMPLAINT))
    return Broken("what answers there tells no events: it may be another version of threadtrace")
