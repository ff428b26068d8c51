"""Refusals and explosions, kept until the tick has decided where they count. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from threadtrace.identity.workloads import Workload
from threadtrace.metrics.labels import error_label, limit_label
from threadtrace.metrics.places import Places
from threadtrace.metrics.series import Cause, Series
from threadtrace.model.explosion import Explosion, Transition
from threadtrace.model.refusal import Refusal
from threadtrace.probe.records import Limit

_MAX_WORKLOADS = 1_024
_NOBODY = ""


@dataclass(slots=True)
class _Told:
    workload: Workload | None
    refused: dict[Cause, int] = field(default_factory=dict)
    explosions: int = 0


class Told:
    """What happened to workloads since the last tick, and which of them explode.

    What grows: one entry a workload until the next tick, 1,024 at most, the others together; one
    for each explosion under way.
    """

    def __init__(self) -> None:
        """Nothing happened, nobody explodes."""
        self.explosions_started = 0
        self.refused = {limit_label(limit): 0 for limit in Limit}
        """On the whole node, by limit."""
        self._episodes: dict[int, str] = {}
        self._waiting: dict[str, _Told] = {}

    def note_refusals(self, refusals: Iterable[Refusal]) -> None:
        """Each stands for those like it that were held back before, too."""
        for refusal in refusals:
            cause = Cause(error_label(refusal.error), limit_label(refusal.limit))
            count = 1 + refusal.suppressed
            refused = self._of(refusal.victim.workload).refused
            refused[cause] = refused.get(cause, 0) + count

    def note_explosions(self, explosions: Iterable[Explosion]) -> None:
        """They began, went on or are over."""
        for explosion in explosions:
            if explosion.transition is Transition.ENDED:
                self._episodes.pop(explosion.number, None)
                continue
            self._episodes[explosion.number] = explosion.workload.key
            if explosion.transition is Transition.STARTED:
                self.explosions_started += 1
                self._of(explosion.workload).explosions += 1

    def settle(self, places: Places, other: Series, now_s: float) -> None:
        """Count everything where the places say, and in the common series what has none."""
        waiting, self._waiting = self._waiting, {}
        for told in waiting.values():
            series = places.find(told.workload, now_s) or other
            series.explosions += told.explosions
            for cause, count in told.refused.items():
                series.refuse(cause, count)
                self.refused[cause.limit] += count

    @property
    def exploding(self) -> list[str]:
        """The workload of each explosion that is under way, by its key."""
        return list(self._episodes.values())

    def _of(self, workload: Workload) -> _Told:
        found = self._waiting.get(workload.key)
        if found is not None:
            return found
        if len(self._waiting) >= _MAX_WORKLOADS:
            return self._waiting.setdefault(_NOBODY, _Told(None))
        return self._waiting.setdefault(workload.key, _Told(workload))
