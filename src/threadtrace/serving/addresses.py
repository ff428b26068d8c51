"""Where to listen, out of what a user gave: numeric addresses and sockets in the file system.

Sockets are bound before anything else of the agent starts, so that an address that cannot be had
is told at once; they are served later, by ``server.py``.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import re
import socket
from collections.abc import Sequence
from typing import NamedTuple

from threadtrace.errors import UnavailableError, UsageError
from threadtrace.unix_socket import SocketFile

_FORMS = "127.0.0.1:9752, [::1]:9752 or unix:/run/threadtrace/http.sock"
_IP_AND_PORT = re.compile(r"(?:\[([^\[\]]+)\]|([^:\[\]]+)):(\d{1,5})\Z", re.ASCII)
_HIGHEST_PORT = 65_535
_BACKLOG = 64

# What the kernel keeps of one connection counts as the agent's memory in its cgroup. The kernel
# doubles both, for its own bookkeeping.
_SENT_BYTES = 128 << 10
_RECEIVED_BYTES = 16 << 10


class UnixAddress(NamedTuple):
    """A socket in the file system."""

    path: str

    @property
    def is_private(self) -> bool:
        """Whether nobody but this user of this machine can connect."""
        return True

    def __str__(self) -> str:
        return f"unix:{self.path}"


class IpAddress(NamedTuple):
    """An address that needs no name look-up."""

    host: str
    """Numeric, without a zone."""
    port: int
    """0: any that is free."""
    zone: str | None = None
    """Of a link-local IPv6 address: the name or number of an interface."""

    @property
    def is_private(self) -> bool:
        """Whether only this machine's own processes can connect."""
        return ipaddress.ip_address(self.host).is_loopback

    @property
    def family(self) -> socket.AddressFamily:
        """AF_INET or AF_INET6."""
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    def __str__(self) -> str:
        zone = "" if self.zone is None else f"%{self.zone}"
        host = f"[{self.host}{zone}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


Address = UnixAddress | IpAddress


def parse_addresses(texts: Sequence[str], has_token: bool) -> list[Address]:
    """What ``--listen`` names, each once.

    Args:
        texts: ``IP:PORT``, ``[IPv6]:PORT`` or ``unix:PATH``.
        has_token: whether who asks has to show one.

    Raises:
        UsageError: one is none of these, or others than this machine could ask without a token.
    """
    addresses = list({_place(address): address for address in map(parse_address, texts)}.values())
    for address in addresses:
        if not has_token and not address.is_private:
            raise UsageError(
                f"--listen {address} can be reached from elsewhere: give a --token-file, or listen "
                "on 127.0.0.1, [::1] or unix:PATH"
            )
    return addresses


def _place(address: Address) -> Address:
    """The same for all names of it."""
    if isinstance(address, UnixAddress):
        return UnixAddress(os.path.realpath(address.path))
    return address


def parse_address(text: str) -> Address:
    """One of them.

    Raises:
        UsageError: it is none; the message shows the forms.
    """
    scheme, colon, path = text.partition(":")
    if colon and scheme == "unix":
        if not path or "\0" in path:
            raise UsageError(f"--listen {text!r} names no socket: use {_FORMS}")
        return UnixAddress(path)
    found = _IP_AND_PORT.match(text)
    if found is None:
        raise UsageError(f"--listen {text!r} is no address to listen on: use {_FORMS}")
    host, _, zone = (found[1] or found[2]).partition("%")
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        raise UsageError(
            f"--listen {text!r} has no numeric address (names are not looked up): use {_FORMS}"
        ) from None
    if (ip.version == 6) != (found[1] is not None) or int(found[3]) > _HIGHEST_PORT:
        raise UsageError(f"--listen {text!r} is no address to listen on: use {_FORMS}")
    return IpAddress(str(ip), int(found[3]), zone or None)


class Listening:
    """A socket that listens; connections wait in the kernel until it is served."""

    def __init__(self, address: Address) -> None:
        """Bind it. A Unix socket is for this user only, in the place of one that is dead.

        Raises:
            UnavailableError: the address cannot be had, with the remedy.
            UsageError: it names an interface that does not exist.
        """
        self._file: SocketFile | None = None
        family = socket.AF_UNIX if isinstance(address, UnixAddress) else address.family
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        """Does not block."""
        try:
            self.socket.setblocking(False)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SENT_BYTES)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVED_BYTES)
            if isinstance(address, UnixAddress):
                self._file = SocketFile(self.socket, address.path)
            else:
                self._bind_ip(address)
            self.socket.listen(_BACKLOG)
        except OSError as error:
            self.close()
            raise UnavailableError(_refused(address, error)) from None
        except UsageError:
            self.close()
            raise
        self.address = _bound(address, self.socket)
        """With the port that was given, where any was asked for."""

    def close(self) -> None:
        """Listen no more, and remove the file, if it is still this one's."""
        self.socket.close()
        if self._file is not None:
            self._file.remove()
            self._file = None

    def _bind_ip(self, address: IpAddress) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address.family == socket.AF_INET:
            self.socket.bind((address.host, address.port))
            return
        # What is written is what is listened on: [::] leaves 0.0.0.0 to another --listen.
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self.socket.bind((address.host, address.port, 0, _zone_index(address)))


def listen_on(addresses: Sequence[Address]) -> list[Listening]:
    """All of them, or none.

    Raises:
        UnavailableError: one cannot be had.
        UsageError: it names an interface that does not exist.
    """
    with contextlib.ExitStack() as undo:
        listening = []
        for address in addresses:
            listening.append(Listening(address))
            undo.callback(listening[-1].close)
        undo.pop_all()
    return listening


def _zone_index(address: IpAddress) -> int:
    if address.zone is None:
        return 0
    if address.zone.isdecimal():
        return int(address.zone)
    try:
        return socket.if_nametoindex(address.zone)
    except OSError:
        raise UsageError(f"--listen {address}: there is no interface {address.zone!r}") from None


def _bound(address: Address, listener: socket.socket) -> Address:
    if isinstance(address, UnixAddress) or address.port:
        return address
    return address._replace(port=listener.getsockname()[1])


def _refused(address: Address, error: OSError) -> str:
    remedies = {
        errno.EADDRINUSE: "end what listens there, or choose another --listen",
        errno.EADDRNOTAVAIL: "choose an address that this node has",
        errno.EACCES: "choose another --listen, or run as root",
        errno.ENOENT: "make its directory first",
    }
    remedy = remedies.get(error.errno or 0, "choose another --listen")
    return f"cannot listen on {address}: {error.strerror or error}; {remedy}"
