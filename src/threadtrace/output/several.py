"""One agent, several who want to be told."""

from __future__ import annotations

from collections.abc import Sequence

from threadtrace.feed import Output
from threadtrace.model.snapshot import Happenings, Snapshot


class Several:
    """Outputs, one after the other."""

    def __init__(self, outputs: Sequence[Output]) -> None:
        """In this order."""
        self._outputs = outputs

    def on_happenings(self, happened: Happenings) -> None:
        """See Output."""
        for output in self._outputs:
            output.on_happenings(happened)

    def on_snapshot(self, snapshot: Snapshot) -> None:
        """See Output."""
        for output in self._outputs:
            output.on_snapshot(snapshot)
