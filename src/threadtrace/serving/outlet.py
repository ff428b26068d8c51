"""What aiohttp takes for the transport."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol


class Connection(Protocol):
    """Whose transport it stands for."""

    @property
    def transport(self) -> asyncio.Transport | None:
        """The real one, while there is one."""

    @property
    def is_over(self) -> bool:
        """Whether nothing can be sent any more."""

    def write(self, data: bytes) -> None:
        """Send that."""

    def part(self) -> None:
        """End it when all that was written is taken."""

    def cut(self) -> None:
        """End it now."""


class Outlet(asyncio.Transport):
    """The transport as aiohttp sees it: what it writes is counted, and its end is a parting."""

    def __init__(self, channel: Connection) -> None:
        """Of that connection."""
        super().__init__()
        self._channel = channel

    def write(self, data: Any) -> None:
        """Send it."""
        self._channel.write(data)

    def writelines(self, list_of_data: Any) -> None:
        """Send them all."""
        self._channel.write(b"".join(list_of_data))

    def close(self) -> None:
        """All is written."""
        self._channel.part()

    def abort(self) -> None:
        """End it now."""
        self._channel.cut()

    def is_closing(self) -> bool:
        """Whether nothing can be sent any more."""
        transport = self._channel.transport
        return self._channel.is_over or transport is None or transport.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """About the connection."""
        transport = self._channel.transport
        return default if transport is None else transport.get_extra_info(name, default)

    def pause_reading(self) -> None:
        """Nothing: the channel hands on no more than was asked for."""

    def resume_reading(self) -> None:
        """Nothing, likewise."""
