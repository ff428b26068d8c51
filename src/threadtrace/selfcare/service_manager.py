"""What systemd wants to know, sd_notify(3): datagrams to the socket that the environment names."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress

_MICROSECONDS = 1_000_000


class ServiceManager:
    """Whoever started this process, if it wants to be told; else nobody."""

    def __init__(self, environment: Mapping[str, str] = os.environ, pid: int | None = None) -> None:
        """Told by NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID."""
        address = environment.get("NOTIFY_SOCKET", "")
        # A name in the abstract namespace is written with @ for the zero byte.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_seconds = _watchdog_seconds(environment, os.getpid() if pid is None else pid)
        """Within which ``alive`` has to be called again and again; None: no need to."""

    def ready(self) -> None:
        """It counts."""
        self._tell("READY=1\nSTATUS=counting")

    def alive(self) -> None:
        """Ticks come."""
        self._tell("WATCHDOG=1")

    def reloading(self) -> None:
        """Files are read again; ``ready`` says when that is done."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """It ends."""
        self._tell("STOPPING=1")

    def _tell(self, text: str) -> None:
        if not self._address:
            return
        # Whoever does not listen any more is not told: the agent has better things to do than fail.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as telling:
            telling.setblocking(False)
            telling.sendto(text.encode(), self._address)


def _watchdog_seconds(environment: Mapping[str, str], pid: int) -> float | None:
    microseconds = environment.get("WATCHDOG_USEC", "")
    meant = environment.get("WATCHDOG_PID", str(pid))
    if not microseconds.isdecimal() or meant != str(pid) or not int(microseconds):
        return None
    return int(microseconds) / _MICROSECONDS
