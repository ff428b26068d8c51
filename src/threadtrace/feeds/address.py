"""Where a running agent can be reached, out of the URL that a user gave. Pure."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

from threadtrace.errors import UsageError

_FORMS = (
    "unix:/run/threadtrace.sock, or tcp://127.0.0.1:9464 for a socket forwarded by ssh -L "
    "127.0.0.1:9464:/run/threadtrace.sock NODE, or http://NODE:9752 or https://NODE:9752 for "
    "threadtrace stream --listen"
)
_TCP = re.compile(r"tcp://(?:\[([0-9A-Fa-f:.]+)\]|([^:/\[\]]+)):(\d{1,5})/?\Z", re.ASCII)
_HTTP = re.compile(
    r"(https?)://(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]{1,253})):(\d{1,5})/?\Z", re.ASCII
)
_HTTP_UNIX = "http+unix"
_HIGHEST_PORT = 65_535

# Old ways to write an IP address: 127.1, 0x7f.0.0.1. What they mean differs between libraries.
_ENDS_LIKE_A_NUMBER = re.compile(r"(?:.*\.)?(?:\d+|0[xX][0-9A-Fa-f]*)\.?\Z")

# A password or a token has no place in a URL, and none in the message that says so.
_WITH_SECRETS = re.compile(r"[@?#]")


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
        return _host_and_port(self.host, self.port)


class HttpAddress(NamedTuple):
    """An agent's HTTP server (``stream --listen``)."""

    scheme: str
    """``http`` or ``https``."""
    host: str
    """A name, or an IP address (of version 6 without brackets)."""
    port: int

    def __str__(self) -> str:
        return f"{self.scheme}://{_host_and_port(self.host, self.port)}"

    @property
    def is_open(self) -> bool:
        """Whether others than the two sides can read what is sent there."""
        address = _ip(self.host)
        is_here = address is not None and ipaddress.ip_address(address).is_loopback
        return self.scheme == "http" and not is_here


class HttpUnixAddress(NamedTuple):
    """The same server at a socket in the file system."""

    path: str

    def __str__(self) -> str:
        return self.path


Address = UnixAddress | TcpAddress | HttpAddress | HttpUnixAddress


def parse_address(url: str) -> Address:
    """Where that is.

    Args:
        url: ``unix:PATH``, ``tcp://IP:PORT``, ``http://HOST:PORT``, ``https://HOST:PORT`` or
            ``http+unix:PATH``; an absolute path may have ``//`` before it.

    Raises:
        UsageError: it is none of these; the message shows them.
    """
    scheme, _, rest = url.partition(":")
    if scheme in ("unix", _HTTP_UNIX):
        path = rest.removeprefix("//")
        if path and (path.startswith("/") or not rest.startswith("//")):
            return HttpUnixAddress(path) if scheme == _HTTP_UNIX else UnixAddress(path)
    if scheme == "tcp":
        return _tcp(url)
    if scheme in ("http", "https"):
        return _http(url)
    raise UsageError(f"{url!r} is no address of an agent: use {_FORMS}")


def _tcp(url: str) -> TcpAddress:
    found = _TCP.match(url)
    host = _ip(found[1] or found[2]) if found is not None else None
    if found is None or host is None or not _is_port(found[3]):
        raise UsageError(f"{url!r} has no IP address and port: use {_FORMS}")
    return TcpAddress(host, int(found[3]))


def _http(url: str) -> HttpAddress:
    if _WITH_SECRETS.search(url):
        raise UsageError(
            "a URL of an agent is a host and a port alone: give its token by --token-file FILE or "
            f"the environment's THREADTRACE_TOKEN, and use {_FORMS}"
        )
    found = _HTTP.match(url)
    host = _host(found[2], found[3]) if found is not None else None
    if found is None or host is None or not _is_port(found[4]):
        raise UsageError(f"{url!r} is more or less than a host and a port: use {_FORMS}")
    return HttpAddress(found[1], host, int(found[4]))


def _host(version_6: str | None, other: str) -> str | None:
    """None where it is neither an IP address nor a name."""
    if version_6 is not None:
        return _ip(version_6)
    # A certificate may be for localhost by name: it stays one.
    if not _ENDS_LIKE_A_NUMBER.match(other):
        return other.lower()
    return _ip(other)


def _ip(host: str) -> str | None:
    """Names would have to be looked up, which takes a thread; this one is known."""
    if host == "localhost":
        return "127.0.0.1"
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None


def _is_port(digits: str) -> bool:
    return 0 < int(digits) <= _HIGHEST_PORT


def _host_and_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
