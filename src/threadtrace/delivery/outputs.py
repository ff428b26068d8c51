"""All outputs of the event stream, as one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from threadtrace.delivery.buffer import Rank
from threadtrace.delivery.errors import ReaderGone
from threadtrace.delivery.outlet import Outlet
from threadtrace.errors import OutputError
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

    def write(self, lines: Sequence[bytes], rank: Rank) -> None:
        """To all, whatever happens to one of them.

        Raises:
            ReaderGone: nobody reads one of them any more.
            OutputError: one cannot be written to any more.
        """
        self._of_each(lambda outlet: outlet.write(lines, rank))

    def flush(self) -> None:
        """Bring on what waits. See ``write`` for what is raised."""
        self._of_each(lambda outlet: outlet.flush())

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
        finishing = (outlet.finish(seconds) for outlet in self._outlets)
        await asyncio.gather(*finishing, return_exceptions=True)

    def _of_each(self, do: Callable[[Outlet], None]) -> None:
        """What ends one of them does not keep the lines from the others."""
        first: Exception | None = None
        for outlet in self._outlets:
            try:
                do(outlet)
            except (ReaderGone, OutputError) as error:
                first = first or error
        if first is not None:
            raise first

    def close(self) -> None:
        """For good."""
        for outlet in self._outlets:
            outlet.close()
