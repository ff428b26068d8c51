"""What ``--output`` names, made into outlets."""

from __future__ import annotations

import errno
import ipaddress
import os
import re
import socket
import stat
import sys
from collections.abc import Sequence
from contextlib import suppress

from threadtrace.delivery.connection import ConnectionOutlet, Endpoint
from threadtrace.delivery.file import FileOutlet, Rotation
from threadtrace.delivery.outlet import Outlet
from threadtrace.delivery.outputs import Outputs
from threadtrace.delivery.pipe import PipeOutlet
from threadtrace.errors import OutputError, UsageError

_TCP = re.compile(r"tcp://(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):(\d{1,5})/?\Z", re.ASCII)
_HIGHEST_PORT = 65_535
_MAX_UNIX_PATH_BYTES = 107  # sun_path with its zero byte, unix(7)

DEFAULT_BUFFER_BYTES = 16 << 20
STANDARD_OUTPUT = "-"


def check_names(names: Sequence[str]) -> None:
    """Whether these can be outputs: ``-``, a path, ``tcp://IP:PORT``, ``unix:PATH``, each once.

    Raises:
        UsageError: they cannot, with the remedy.
    """
    seen: dict[str, str] = {}
    for name in names:
        place = _place(name)
        if place in seen:
            also = "" if seen[place] == name else f", as {seen[place]}"
            raise UsageError(f"{name} was given twice{also}: give it once")
        seen[place] = name


def has_file(names: Sequence[str]) -> bool:
    """Whether one of these outputs is, or will be, a file that may be put aside."""
    return any(name != STANDARD_OUTPUT and _collector(name) is None for name in names)


def outputs(names: Sequence[str], max_buffer_bytes: int, rotation: Rotation) -> Outputs:
    """All of them, not opened yet.

    Args:
        names: see ``check_names``.
        max_buffer_bytes: of each.
        rotation: of files.

    Raises:
        UsageError: one is no name of an output, or that of a file which another puts aside.
        OutputError: one cannot be opened.
    """
    check_names(names)
    if rotation.is_wanted:
        _check_rotated(names, rotation.kept_files)
    return Outputs([_outlet(name, max_buffer_bytes, rotation) for name in names])


def _check_rotated(names: Sequence[str], kept_files: int) -> None:
    places = {_place(name): name for name in names}
    for place, name in places.items():
        for number in range(1, kept_files + 1):
            aside = places.get(f"{place}.{number}")
            if aside is not None:
                raise UsageError(f"{aside} is where {name} is put aside: choose another --output")


def _outlet(name: str, max_buffer_bytes: int, rotation: Rotation) -> Outlet:
    collector = _collector(name)
    if collector is not None:
        return ConnectionOutlet(name, max_buffer_bytes, *collector)
    if name == STANDARD_OUTPUT:
        return _standard_output(max_buffer_bytes)
    return _file(name, max_buffer_bytes, rotation)


def _place(name: str) -> str:
    """The same for all names of it: of a file the path without links."""
    if _collector(name) is not None or name == STANDARD_OUTPUT:
        return name
    return os.path.realpath(name)


def _collector(name: str) -> tuple[socket.AddressFamily, Endpoint] | None:
    """Where to connect to; None where it is a file or standard output."""
    if not name:
        raise UsageError("must be -, the name of a file, tcp://IP:PORT or unix:PATH")
    if name.startswith("unix:"):
        path = name.removeprefix("unix:").removeprefix("//")
        if not 0 < len(os.fsencode(path)) <= _MAX_UNIX_PATH_BYTES:
            raise UsageError(f"{name}: a socket's path has 1 to {_MAX_UNIX_PATH_BYTES} bytes")
        return socket.AF_UNIX, path
    if "://" not in name and not name.startswith("tcp:"):
        return None
    host, port = _host_and_port(name)
    return socket.AF_INET6 if host.version == 6 else socket.AF_INET, (str(host), port)


def _host_and_port(name: str) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]:
    """A name would have to be looked up, which takes a thread."""
    found = _TCP.match(name)
    if found is not None and 0 < int(found[3]) <= _HIGHEST_PORT:
        with suppress(ValueError):
            return ipaddress.ip_address(found[1] or found[2]), int(found[3])
    raise UsageError(
        f"{name}: write tcp://IP:PORT with a numeric address, as in tcp://127.0.0.1:5170"
    )


def _standard_output(max_buffer_bytes: int) -> Outlet:
    if sys.stdout is None:
        raise OutputError("standard output is closed: redirect it, or use --output FILE")
    fd = sys.stdout.fileno()
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return FileOutlet("standard output", max_buffer_bytes, fd=fd)
    return PipeOutlet("standard output", max_buffer_bytes, fd)


def _file(path: str, max_buffer_bytes: int, rotation: Rotation) -> Outlet:
    """A file; or what else has a name in the file system, such as a named pipe."""
    try:
        is_special = not stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        is_special = False
    if not is_special or os.path.isdir(path):
        return FileOutlet(path, max_buffer_bytes, rotation)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        reason = error.strerror
        if error.errno == errno.ENXIO:
            reason = "nobody reads that named pipe; start its reader first"
        raise OutputError(f"cannot write to {path}: {reason}, or choose another --output") from None
    return PipeOutlet(path, max_buffer_bytes, fd, is_own=True)
