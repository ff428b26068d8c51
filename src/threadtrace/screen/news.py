"""What happened, beside the numbers: refusals, explosions, losses, and the log of all of it. Pure.

What grows: 1,250 lines of log, 256 refusals, the explosions under way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from heapq import merge
from typing import NamedTuple

from threadtrace.model.explosion import Explosion, Transition
from threadtrace.model.refusal import Refusal
from threadtrace.model.snapshot import Happenings, Loss, Snapshot
from threadtrace.output.events import describe_loss, describe_refusal
from threadtrace.output.explosions import describe_explosion, is_urgent
from threadtrace.screen.verdict import describe_refusals
from threadtrace.text import printable

_KEPT_LINES = 1_000
_KEPT_COMINGS = 250
_KEPT_REFUSALS = 256
_REFUSES_NS = 10_000_000_000
"""A probe that is refused comes again after its period, by default ten seconds."""


class Entry(NamedTuple):
    """One line of the log."""

    time_ns: int
    """Since the epoch."""
    event: str
    """As the stream calls it, without ``threadtrace.``."""
    style: str
    """``danger``, ``warning`` or ``plain``."""
    text: str
    keys: tuple[str, ...]
    """Of the workloads that it is about: who was refused, and who holds the limit."""


class News:
    """Keeps what is still worth telling."""

    def __init__(self) -> None:
        # What comes and goes by the thousand must not push out what an operator looks for.
        self._log: deque[Entry] = deque(maxlen=_KEPT_LINES)
        self._comings: deque[Entry] = deque(maxlen=_KEPT_COMINGS)
        self._dropped = 0
        self._refusals: deque[Refusal] = deque(maxlen=_KEPT_REFUSALS)
        self._explosions: dict[int, Explosion] = {}
        self._lost: dict[str, int] = {}
        self._now_ns = 0

    def add_happenings(self, happened: Happenings) -> None:
        """Between two ticks."""
        for started in happened.started:
            text = f"{started.workload.name} appeared"
            self._note(started.time_ns, "workload.started", "plain", text, started.workload.key)
        self._add_refusals(happened.refusals)
        self._add_explosions(happened.explosions)

    def add_snapshot(self, snapshot: Snapshot) -> None:
        """A tick."""
        self._now_ns = snapshot.time_ns
        self._add_refusals(snapshot.refusals)
        self._add_explosions(snapshot.explosions)
        for ended in snapshot.ended:
            text = f"{ended.workload.name} is gone; it held {ended.tasks_peak:,} tasks at most"
            self._note(ended.time_ns, "workload.ended", "plain", text, ended.workload.key)
        for loss in snapshot.losses:
            self._lost[loss.where] = self._lost.get(loss.where, 0) + loss.lost
            self._note(snapshot.time_ns, "loss", "warning", describe_loss(loss))

    @property
    def log(self) -> list[Entry]:
        """Oldest first."""
        return list(merge(self._comings, self._log, key=lambda entry: entry.time_ns))

    @property
    def dropped_lines(self) -> int:
        """Of the log, for which there was no room any more."""
        return self._dropped

    @property
    def losses(self) -> list[Loss]:
        """All of this run, by place."""
        return [Loss(where, count) for where, count in self._lost.items()]

    @property
    def explosions(self) -> list[Explosion]:
        """Those under way, largest first."""
        return sorted(self._explosions.values(), key=lambda explosion: -explosion.tasks)

    def recent_refusals(self) -> list[Refusal]:
        """Of the last ten seconds; oldest first."""
        # What seems to lie in the future was told before somebody set the clock back.
        now = self._now_ns
        return [refusal for refusal in self._refusals if abs(now - refusal.time_ns) < _REFUSES_NS]

    def explosion_of(self, key: str) -> Explosion | None:
        """The one of a workload that is under way."""
        mine = (e for e in self._explosions.values() if e.workload.key == key)
        return next(mine, None)

    def entries_about(self, key: str) -> list[Entry]:
        """Of the log; newest first."""
        return [entry for entry in reversed(self.log) if key in entry.keys]

    def verdict(self) -> tuple[str, str] | None:
        """The line that matters most now, and its style; None while nothing does.

        What is refused; where nothing is, the largest explosion.
        """
        recent = self.recent_refusals()
        if recent:
            return describe_refusals(recent), "danger"
        for explosion in self.explosions:
            return describe_explosion(explosion), _style(explosion)
        return None

    def _add_refusals(self, refusals: Iterable[Refusal]) -> None:
        for refusal in refusals:
            self._refusals.append(refusal)
            self._now_ns = max(self._now_ns, refusal.time_ns)
            keys = [refusal.victim.workload.key, *(c.workload.key for c in refusal.culprits)]
            text = describe_refusal(refusal)
            self._note(refusal.time_ns, "fork.refused", "danger", text, *keys)

    def _add_explosions(self, explosions: Iterable[Explosion]) -> None:
        for explosion in explosions:
            if explosion.transition is Transition.ENDED:
                self._explosions.pop(explosion.number, None)
            else:
                self._explosions[explosion.number] = explosion
            if explosion.transition is not Transition.UPDATED:
                style = "plain" if explosion.transition is Transition.ENDED else _style(explosion)
                name = f"explosion.{explosion.transition.value}"
                text, key = describe_explosion(explosion), explosion.workload.key
                self._note(explosion.time_ns, name, style, text, key)

    def _note(self, time_ns: int, event: str, style: str, text: str, *keys: str) -> None:
        kept = self._comings if event.startswith("workload.") else self._log
        if len(kept) == kept.maxlen:
            self._dropped += 1
        kept.append(Entry(time_ns, event, style, printable(text), keys))


def _style(explosion: Explosion) -> str:
    return "danger" if is_urgent(explosion) else "warning"
