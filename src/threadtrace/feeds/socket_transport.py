"""Through the agent's own socket: on this node, or forwarded from another one by ssh.

One line of JSON there, and an answer or events back; see docs/remote.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import orjson

from threadtrace.feeds.address import TcpAddress, UnixAddress
from threadtrace.feeds.transport import (
    CHUNK_BYTES,
    MAX_ANSWER_BYTES,
    Answer,
    Broken,
    Question,
    answer_of,
    connected,
)


class SocketTransport:
    """See ``transport.Transport``: a connection for each question."""

    def __init__(self, address: UnixAddress | TcpAddress) -> None:
        """To the socket there."""
        self._address = address
        self.address = str(address)
        if isinstance(address, UnixAddress):
            self.remedy = "start threadtrace stream or threadtrace top there, as root"
        else:
            self.remedy = (
                f"forward the agent's socket with ssh -L {address}:/run/threadtrace.sock "
                "root@NODE, and run threadtrace stream on the node; or use http:// for its --listen"
            )

    async def events(self) -> AsyncGenerator[bytes, None]:
        """See Transport."""
        async with self._connection({"get": "events"}) as connection:
            while part := await connection.read(CHUNK_BYTES):
                yield part

    async def ask(self, question: Question) -> Answer:
        """See Transport."""
        received = bytearray()
        async with self._connection(question) as connection:
            while part := await connection.read(CHUNK_BYTES):
                received += part
                if len(received) > MAX_ANSWER_BYTES:
                    raise Broken("its answer is too long to be one")
        return answer_of(received)

    async def close(self) -> None:
        """Nothing is left open between two questions."""

    @asynccontextmanager
    async def _connection(self, question: Question) -> AsyncIterator[asyncio.StreamReader]:
        """One that has just sent the question."""
        address = self._address
        if isinstance(address, UnixAddress):
            reader, writer = await connected(asyncio.open_unix_connection(address.path))
        else:
            # A literal address: asyncio looks nothing up for it.
            opening = asyncio.open_connection(address.host, address.port)
            reader, writer = await connected(opening)
        try:
            writer.write(orjson.dumps(question, option=orjson.OPT_APPEND_NEWLINE))
            yield reader
        finally:
            writer.close()
