"""What the agent tells beside its outputs: lines that are kept, and the latest sample."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

from threadtrace.delivery.buffer import Rank
from threadtrace.delivery.outputs import Outputs
from threadtrace.model.danger import by_danger
from threadtrace.model.refusal import Refusal
from threadtrace.model.snapshot import Happenings, Snapshot
from threadtrace.output.fields import Fields
from threadtrace.output.sample import sample_fields
from threadtrace.screen.news import News
from threadtrace.serving.history import History

_KEPT_REFUSALS = 64


class KeptLines:
    """A sink whose lines can be asked for again."""

    def __init__(self, sinks: Outputs, history: History) -> None:
        """Gives them to both."""
        self._sinks = sinks
        self._history = history

    def write(self, lines: list[bytes], rank: Rank) -> None:
        """See output.stream.Sink."""
        self._history.add(lines, time.monotonic())
        self._sinks.write(lines, rank)

    def take_lost(self) -> dict[str, int]:
        """See output.stream.Sink."""
        return self._sinks.take_lost()


class LatestSample:
    """The last tick and what is still worth telling beside it: what ``top --once`` tells."""

    def __init__(self, missing: Sequence[dict[str, str]], counts_refusals: bool) -> None:
        """There was no tick yet.

        Args:
            missing: what the agent cannot see here.
            counts_refusals: whether refused clones are counted here.
        """
        self._missing = missing
        self._counts_refusals = counts_refusals
        self._snapshot: Snapshot | None = None
        self._news = News()
        self._refusals: deque[Refusal] = deque(maxlen=_KEPT_REFUSALS)

    def on_happenings(self, happened: Happenings) -> None:
        """See Output."""
        self._news.add_happenings(happened)
        self._refusals.extend(happened.refusals)

    def on_snapshot(self, snapshot: Snapshot) -> None:
        """See Output."""
        self._news.add_snapshot(snapshot)
        self._refusals.extend(snapshot.refusals)
        self._snapshot = snapshot

    def fields(self) -> Fields | None:
        """One JSON object; None before the first tick."""
        snapshot = self._snapshot
        if snapshot is None:
            return None
        return sample_fields(
            snapshot,
            by_danger(snapshot.workloads),
            list(self._refusals),
            self._news.explosions,
            self._news.losses,
            self._missing,
            self._counts_refusals,
        )
