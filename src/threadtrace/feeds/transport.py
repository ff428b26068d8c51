"""How the bytes of a running agent come here, whatever they come through."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar

import orjson

from threadtrace import deadlines
from threadtrace.errors import UsageError
from threadtrace.feeds.address import HttpAddress, HttpUnixAddress, parse_address
from threadtrace.feeds.token import Token

T = TypeVar("T")

CHUNK_BYTES = 1 << 16
"""Some hundred events: five milliseconds until the view has its turn."""
CONNECT_SECONDS = 10.0
"""For a connection and the beginning of an answer."""

HTTP_BEGINS = b"HTTP/"
SPEAKS_HTTP = "what answers there speaks HTTP: use http:// or https:// instead of tcp://"
"""Said of what begins like that where the agent's own socket should be."""

MAX_ANSWER_BYTES = 16 << 20

Question = Mapping[str, Any]
"""``get``, and what is asked about: see docs/remote.md."""
Answer = dict[str, Any]


class Broken(Exception):
    """The connection is of no use any more; the text says why."""


class Refused(Broken):
    """Somebody answers there, but not with what was asked for; the text says what to do."""


class TooLate(Broken):
    """It took too long."""


class Access(NamedTuple):
    """What it takes to be let in by an HTTP server, and to trust it."""

    token: Token | None = None
    ca_file: str | None = None
    """Whose certificates are trusted instead of the system's; PEM."""


NO_ACCESS = Access()
"""Nothing is needed, and the system's certificates are trusted."""


class Transport(Protocol):
    """A way to one agent. All calls come from one event loop."""

    address: str
    """For people."""
    remedy: str
    """What to do when nobody answers."""

    def events(self) -> AsyncGenerator[bytes, None]:
        """The bytes of one run of events, in pieces of any size, until the other side hangs up.

        Raises:
            OSError: no connection, or it broke.
            Broken: likewise, or it was not made within CONNECT_SECONDS, or it is no agent.
        """

    async def ask(self, question: Question) -> Answer:
        """One answer, however long it takes.

        Raises:
            OSError: no connection, or it broke.
            Broken: likewise, or it was not made within CONNECT_SECONDS, or it is no answer.
        """

    async def close(self) -> None:
        """Hang up, for ever."""


def transport_to(url: str, access: Access = NO_ACCESS) -> Transport:
    """Does not connect yet.

    Raises:
        UsageError: no URL of an agent, or one that has no use for what ``access`` holds.
        ThreadtraceError: the file of certificates cannot be used.
    """
    address = parse_address(url)
    if isinstance(address, HttpAddress | HttpUnixAddress):
        # Not before it is needed: it takes a quarter of a second.
        from threadtrace.feeds.http_transport import HttpTransport

        return HttpTransport(address, access)
    if access.token is not None:
        raise UsageError("--token-file goes with http:// and https://: a socket asks for no token")
    if access.ca_file is not None:
        raise UsageError("--ca-file goes with https://")
    from threadtrace.feeds.socket_transport import SocketTransport

    return SocketTransport(address)


async def within(seconds: float, awaited: Awaitable[T], otherwise: str) -> T:
    """What is awaited.

    Raises:
        TooLate: it takes longer than that; with those words.
    """
    try:
        return await deadlines.within(seconds, awaited)
    except deadlines.TooLate:
        raise TooLate(otherwise) from None


async def connected(connecting: Awaitable[T]) -> T:
    """What that gives.

    Raises:
        Broken: it takes longer than CONNECT_SECONDS.
    """
    words = f"it did not answer within {CONNECT_SECONDS:g} s"
    return await within(CONNECT_SECONDS, connecting, words)


def answer_of(received: bytes | bytearray) -> Answer:
    """What these bytes say.

    Raises:
        Broken: they are no answer, or say what was wrong with the question.
    """
    if not received:
        raise Broken("it hung up without an answer")
    if received.startswith(HTTP_BEGINS):
        raise Refused(SPEAKS_HTTP)
    try:
        answer = orjson.loads(received)
    except orjson.JSONDecodeError:
        answer = None
    if not isinstance(answer, dict):
        raise Broken("what answers there is no agent of threadtrace, or of another version")
    if isinstance(error := answer.get("error"), str):
        raise Broken(error)
    return answer


def reason(error: Exception) -> str:
    """Why there is no connection, in words."""
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason or 'no reason told'})"
    if isinstance(error, socket.gaierror):
        return str(error.strerror)
    if isinstance(error, OSError):
        # asyncio's own words repeat the address.
        return os.strerror(error.errno) if error.errno else str(error) or type(error).__name__
    return str(error)


def nobody_answers(transport: Transport, wanted: str, error: Exception) -> str:
    """One line with the remedy."""
    said = f"no {wanted} from {transport.address}: {reason(error)}"
    if isinstance(error, Refused):
        return said
    if isinstance(error, PermissionError):
        return f"{said}: the socket belongs to who started the agent: run this as root"
    return f"{said}: {transport.remedy}"
