"""An output that keeps what it is told, in order."""

from __future__ import annotations

from threadtrace.feed import About
from threadtrace.model.explosion import Explosion
from threadtrace.model.refusal import Refusal
from threadtrace.model.snapshot import Happenings, Snapshot


class Heard:
    """Everything, and each kind by itself."""

    def __init__(self) -> None:
        self.told: list[About | Happenings | Snapshot] = []

    def on_start(self, about: About) -> None:
        self.told.append(about)

    def on_happenings(self, happened: Happenings) -> None:
        self.told.append(happened)

    def on_snapshot(self, snapshot: Snapshot) -> None:
        self.told.append(snapshot)

    @property
    def starts(self) -> list[About]:
        return [entry for entry in self.told if isinstance(entry, About)]

    @property
    def snapshots(self) -> list[Snapshot]:
        return [entry for entry in self.told if isinstance(entry, Snapshot)]

    @property
    def happenings(self) -> list[Happenings]:
        return [entry for entry in self.told if isinstance(entry, Happenings)]

    @property
    def refusals(self) -> list[Refusal]:
        """Of ticks and between them."""
        found: list[Refusal] = []
        for entry in self.told:
            if not isinstance(entry, About):
                found += entry.refusals
        return found

    @property
    def explosions(self) -> list[Explosion]:
        found: list[Explosion] = []
        for entry in self.told:
            if not isinstance(entry, About):
                found += entry.explosions
        return found
