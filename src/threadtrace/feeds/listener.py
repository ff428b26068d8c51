"""Between the decoder and the view: keeps what a view would have to know, and may be silent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from threadtrace.feed import About, FeedOutput
from threadtrace.model.explosion import Explosion, Transition
from threadtrace.model.snapshot import Happenings, Loss, Snapshot

# So many explosions of processes are remembered, for who looks closer at one of them.
_REMEMBERED = 256


class Listener:
    """Passes on what it is told, or keeps what a view would have kept of it."""

    def __init__(self, output: FeedOutput) -> None:
        """Passes it on to that output."""
        self.last: Snapshot | None = None
        self.about = About()
        self._output = output
        self._is_silent = False
        self._under_way: dict[int, Explosion] = {}
        self._lost: Counter[str] = Counter()
        self._remembered: dict[tuple[str, int], Explosion] = {}

    @property
    def explosions(self) -> list[Explosion]:
        """The last that was told of each process that explodes or did, oldest first."""
        return list(self._remembered.values())

    def begin_anew(self, is_silent: bool) -> None:
        """Forget all; where silent, pass nothing on until ``speak``."""
        self._is_silent = is_silent
        self._forget(self.about)

    def assume(self, losses: Mapping[str, int]) -> None:
        """What was lost before, in place of what was told."""
        self._under_way.clear()
        self._lost = Counter(losses)

    def speak(self) -> None:
        """Tell what holds now, and pass on what comes."""
        self._is_silent = False
        self._output.on_start(self.about)
        if self._under_way:
            self._output.on_happenings(Happenings([], [], list(self._under_way.values())))

    def on_start(self, about: About) -> None:
        """Another run: what was kept is of the one before."""
        self._forget(about)
        if not self._is_silent:
            self._output.on_start(about)

    def on_happenings(self, happened: Happenings) -> None:
        """Keep or pass on."""
        self._note(happened.explosions)
        if not self._is_silent:
            self._output.on_happenings(happened)

    def on_snapshot(self, snapshot: Snapshot) -> None:
        """Keep or pass on; what was lost while silent goes with the first that is passed on."""
        self._note(snapshot.explosions)
        self.last = snapshot
        if self._is_silent:
            for loss in snapshot.losses:
                self._lost[loss.where] += loss.lost
            return
        if self._lost:
            before = [Loss(where, lost) for where, lost in self._lost.items()]
            snapshot = snapshot._replace(losses=(*before, *snapshot.losses))
            self._lost.clear()
        self._output.on_snapshot(snapshot)

    def _note(self, explosions: Iterable[Explosion]) -> None:
        for explosion in explosions:
            if explosion.transition is Transition.ENDED:
                self._under_way.pop(explosion.number, None)
            else:
                self._under_way[explosion.number] = explosion
            pid = 0 if explosion.process is None else explosion.process.pid
            place = explosion.workload.key, pid
            self._remembered.pop(place, None)
            self._remembered[place] = explosion
            if len(self._remembered) > _REMEMBERED:
                del self._remembered[next(iter(self._remembered))]

    def _forget(self, about: About) -> None:
        self.about, self.last = about, None
        self._under_way.clear()
        self._lost.clear()
        self._remembered.clear()
