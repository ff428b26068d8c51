"""Where a running agent can be reached, out of the URL that a user gave. Pure."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

from threadtrace.errors import UsageError

_FORMS = (
    "unix:/run/threadtrace.sock, or tcp://127.0.0.1:9464 for a socket forwarded by ssh -L "
    "127.0.0.1:9464:/run/threadtrace.sock NODE"
)
_TCP = re.compile(r"tcp://(?:\[([0-9A-Fa-f:.]+)\]|([^:/\[\]]+)):(\d{1,5})/?\Z")
_HIGHEST_PORT = 65_535


class UnixAddress(NamedTuple):
    """A socket in the file system."""

    path: str

    def __str__(self) -> str:
        return self.path


class TcpAddress(NamedTuple):
    """An address that needs no name look-up."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


Address = UnixAddress | TcpAddress


def parse_address(url: str) -> Address:
    """``unix:/PATH``, ``unix:///PATH`` or ``tcp://IP:PORT``.

    Raises:
        UsageError: it is none of these; the message shows them.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "unix":
        path = rest.removeprefix("//")
        if path and (path.startswith("/") or not rest.startswith("//")):
            return UnixAddress(path)
    if scheme == "tcp":
        found = _TCP.match(url)
        host = _ip(found[1] or found[2]) if found is not None else None
        if found is not None and host is not None and 0 < int(found[3]) <= _HIGHEST_PORT:
            return TcpAddress(host, int(found[3]))
        raise UsageError(f"{url!r} has no IP address and port: use {_FORMS}")
    raise UsageError(f"{url!r} is no address of an agent: use {_FORMS}")


def _ip(host: str) -> str | None:
    """Names would have to be looked up, which takes a thread; this one is known."""
    if host == "localhost":
        return "127.0.0.1"
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None
