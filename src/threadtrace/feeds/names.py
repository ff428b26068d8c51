"""Names of hosts to addresses, for views of an agent elsewhere; the agent itself never does that.

The system's look-up waits, so it takes a thread. It is one of its own, which nothing waits for: a
view that is left while a name server is silent ends at once.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress

from aiohttp.abc import AbstractResolver, ResolveResult

_LOCALHOST = "localhost"


class NameResolver(AbstractResolver):
    """Asked for names alone: aiohttp takes IP addresses as they are."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of that host.

        Raises:
            OSError: it has none, or nobody can tell.
        """
        if host == _LOCALHOST:
            return [_result(host, "127.0.0.1", port), _result(host, "::1", port)]
        found = await _looked_up(host, port, family)
        return [_result(host, address, port) for address in dict.fromkeys(found)]

    async def close(self) -> None:
        """Nothing is kept."""


async def _looked_up(host: str, port: int, family: int) -> list[str]:
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[str]] = loop.create_future()

    def settle(addresses: list[str], error: Exception | None) -> None:
        if found.done():
            return
        if error is None:
            found.set_result(addresses)
        else:
            found.set_exception(error)

    def look_up() -> None:
        addresses: list[str] = []
        wrong: Exception | None = None
        try:
            entries = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
            addresses = [str(entry[4][0]) for entry in entries]
        except (OSError, UnicodeError) as error:
            wrong = error if isinstance(error, OSError) else OSError("this is no name of a host")
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, addresses, wrong)

    try:
        threading.Thread(target=look_up, name="look-up", daemon=True).start()
    except RuntimeError:
        raise OSError("no thread can be started to look it up") from None
    return await found


def _result(host: str, address: str, port: int) -> ResolveResult:
    return {
        "hostname": host,
        "host": address,
        "port": port,
        "family": socket.AF_INET6 if ":" in address else socket.AF_INET,
        "proto": 0,
        "flags": socket.AI_NUMERICHOST,
    }
