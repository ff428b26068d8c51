"""All outputs of the event stream, as one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from threadtrace.delivery.buffer import Rank
from threadtrace.delivery.outlet import Outlet
from threadtrace.model.cost import DeliveryState


class Outputs:
    """Gives each line to each outlet; none of them waits for another."""

    def __init__(self, outlets: Sequence[Outlet]) -> None:
        """Of these."""
        self._outlets = outlets

    def open(self) -> None:
        """All of them.

        Raises:
            OutputError: one cannot be used.
        """
        for outlet in self._outlets:
            outlet.open()

    def start(self, on_error: Callable[[], None]) -> None:
        """The event loop runs.

        Args:
            on_error: called when the next ``flush`` will raise what happened in between.
        """
        for outlet in self._outlets:
            outlet.on_error_of_loop = on_error
            outlet.start()

    def write(self, lines: Iterable[bytes], rank: Rank) -> None:
        """To all.

        Raises:
            ReaderGone: nobody reads one of them any more.
            OutputError: one cannot be written to any more.
        """
        for outlet in self._outlets:
            outlet.write(lines, rank)

    def flush(self) -> None:
        """Bring on what waits. See ``write`` for what is raised."""
        for outlet in self._outlets:
            outlet.flush()

    def take_lost(self) -> dict[str, int]:
        """Lines that each of them dropped since the last call, if any."""
        return {outlet.name: lost for outlet in self._outlets if (lost := outlet.take_lost())}

    def reopen(self) -> None:
        """Files that were renamed."""
        for outlet in self._outlets:
            outlet.reopen()

    @property
    def states(self) -> list[DeliveryState]:
        """For metrics."""
        return [outlet.state for outlet in self._outlets]

    async def finish(self, seconds: float) -> None:
        """Bring on what waits; what is left after that time is lost."""
        await asyncio.gather(*(outlet.finish(seconds) for outlet in self._outlets))

    def close(self) -> None:
        """For good."""
        for outlet in self._outlets:
            outlet.close()
