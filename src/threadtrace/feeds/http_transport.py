"""Through the agent's HTTP server, ``threadtrace stream --listen``; see docs/remote.md.

Proxies of the environment and ~/.netrc are not used: between an operator and a node that is in
trouble should be as little as possible, and a proxy would read the token of an http:// request.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlencode

import aiohttp
from aiohttp.http import HttpProcessingError
from yarl import URL

from threadtrace import __version__
from threadtrace.errors import ThreadtraceError, UsageError
from threadtrace.feeds.address import HttpAddress, HttpUnixAddress
from threadtrace.feeds.http_words import NO_HTTP, refusal, translated
from threadtrace.feeds.names import NameResolver
from threadtrace.feeds.transport import (
    CHUNK_BYTES,
    MAX_ANSWER_BYTES,
    Access,
    Answer,
    Broken,
    Question,
    Refused,
    TooLate,
    answer_of,
    connected,
    within,
)

_EVENTS = "application/x-ndjson"
_ANSWER = "application/json"
_PLAIN = ("", "identity")

# How often is looked whether there is still somebody to wait for.
_LOOK_SECONDS = 1.0

# Of an answer that is none, so much is looked at for what it says, and so long.
_COMPLAINT_BYTES, _COMPLAINT_SECONDS = 4096, 2.0


class CertificatesUnusable(ThreadtraceError):
    """The file of certificates cannot be read, or holds none."""

    exit_code = os.EX_NOINPUT


class HttpTransport:
    """See ``transport.Transport``: one session for its whole life."""

    def __init__(self, address: HttpAddress | HttpUnixAddress, access: Access) -> None:
        """To the server there.

        Raises:
            UsageError: certificates are given, but nothing is encrypted.
            CertificatesUnusable: their file cannot be used.
        """
        self.address = str(address)
        self._unix_path: str | None = None
        self._tls: ssl.SSLContext | None = None
        self._origin = self.address
        if isinstance(address, HttpUnixAddress):
            self._unix_path, self._origin = address.path, "http://localhost"
            listening = f"unix:{address.path}"
        else:
            listening = f"IP:{address.port}"
        self.remedy = f"run threadtrace stream --listen {listening} there"
        if self._origin.startswith("https:"):
            self._tls = _tls_context(access.ca_file)
        elif access.ca_file is not None:
            raise UsageError("--ca-file goes with https://")
        self._token = access.token
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False

    async def events(self) -> AsyncGenerator[bytes, None]:
        """See Transport."""
        async with self._answer("/v1/view", _EVENTS) as answer:
            while part := await _part(answer):
                yield part

    async def ask(self, question: Question) -> Answer:
        """See Transport."""
        rest = {name: value for name, value in question.items() if name != "get"}
        query = urlencode(rest, errors="replace")
        path = f"/v1/{question['get']}" + (f"?{query}" if query else "")
        received = bytearray()
        async with self._answer(path, _ANSWER) as answer:
            while part := await _part(answer):
                received += part
                if len(received) > MAX_ANSWER_BYTES:
                    raise Broken("its answer is too long to be one")
        return answer_of(received)

    async def close(self) -> None:
        """See Transport."""
        self._is_closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @asynccontextmanager
    async def _answer(self, path: str, content_type: str) -> AsyncIterator[aiohttp.ClientResponse]:
        """One of that type, whose body is still to be read.

        Raises:
            OSError: see Transport.
            Broken: likewise.
        """
        try:
            answer = await connected(self._get(path, content_type))
        except aiohttp.ServerDisconnectedError:
            is_plain = self._tls is None and self._unix_path is None
            hint = " (https:// reaches a server that wants TLS)" if is_plain else ""
            raise Broken(f"it hung up without an answer{hint}") from None
        except aiohttp.ClientError as error:
            raise translated(error) from None
        # Of an answer that was read to its end, the connection is kept for the next question.
        async with answer:
            await self._check(answer, content_type)
            yield answer

    async def _get(self, path: str, content_type: str) -> aiohttp.ClientResponse:
        # As it is: the key of a workload may hold what yarl would write in another way.
        url = URL(self._origin + path, encoded=True)
        headers = {"Accept": content_type, "Accept-Encoding": "identity"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token.read()}"
        return await self._open_session().get(url, headers=headers, allow_redirects=False)

    async def _check(self, answer: aiohttp.ClientResponse, content_type: str) -> None:
        """Raises Refused unless it is an answer of that type, sent as it is."""
        if answer.status != 200:
            said = await _beginning(answer)
            raise Refused(
                refusal(answer, said, None if self._token is None else self._token.source)
            )
        encoding = answer.headers.get("Content-Encoding", "")
        if answer.content_type != content_type or encoding.lower() not in _PLAIN:
            raise Refused(
                "what answers there is no agent of threadtrace, or another version: is the port "
                "the one of threadtrace stream --listen?"
            )

    def _open_session(self) -> aiohttp.ClientSession:
        """The one there is, or a new one."""
        if self._is_closed:
            raise Broken("the connection is closed")
        if self._session is None:
            connector: aiohttp.BaseConnector
            if self._unix_path is not None:
                connector = aiohttp.UnixConnector(self._unix_path)
            else:
                connector = aiohttp.TCPConnector(
                    ssl=True if self._tls is None else self._tls, resolver=NameResolver()
                )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": f"threadtrace/{__version__}"},
                timeout=aiohttp.ClientTimeout(),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session


async def _part(answer: aiohttp.ClientResponse) -> bytes:
    """What comes next; empty at the end.

    Raises:
        OSError: see Transport.
        Broken: likewise.
    """
    while True:
        try:
            return await within(_LOOK_SECONDS, answer.content.read(CHUNK_BYTES), NO_HTTP)
        except TooLate:
            # After what is no chunk, aiohttp hangs up but lets its reader wait for ever.
            if answer.connection is None or answer.connection.closed:
                raise
        except (aiohttp.ClientError, HttpProcessingError) as error:
            raise translated(error) from None


async def _beginning(answer: aiohttp.ClientResponse) -> bytes:
    """Of what it says; empty where it cannot be read."""
    try:
        return await within(_COMPLAINT_SECONDS, answer.content.read(_COMPLAINT_BYTES), "")
    except (OSError, Broken, aiohttp.ClientError, HttpProcessingError):
        return b""


def _tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Trusts the certificates in the file alone; without one, those that the system trusts."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError:
        why = "it holds no certificate"
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "no such path"
    raise CertificatesUnusable(
        f"--ca-file {ca_file}: {why}: name a PEM file with the certificate of the CA, or of the "
        "agent itself"
    )
