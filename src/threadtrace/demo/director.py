"""Follows one incident from its start to its end, and says what happens."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Sequence

from threadtrace.demo.incidents import MAX_TASKS, Incident
from threadtrace.demo.stage import Stage
from threadtrace.errors import UnavailableError
from threadtrace.model.explosion import Explosion
from threadtrace.model.refusal import Refusal
from threadtrace.model.snapshot import Happenings, Snapshot

# One refusal may be chance; a kubelet gives up after three.
_REFUSED_PROBES = 3
_HEALED_TICKS = 2

# For a slow machine: twice the time, and some.
_PATIENCE_RATIO = 2.0
_PATIENCE_SECONDS = 20.0

_LIMITS = {
    "pid_max": f"pid_max {MAX_TASKS} of their own PID namespace",
    "pids_max": f"pids.max {MAX_TASKS} of their cgroup",
}


class Phase(enum.IntEnum):
    """Of an incident."""

    STARTING = 0
    GROWING = 1
    REFUSING = 2
    ENDING = 3
    HEALED = 4
    OVER = 5


class Director:
    """An output of the agent: each tick moves the incident on."""

    def __init__(
        self,
        incident: Incident,
        stage: Stage,
        seconds: float,
        diagnose: Callable[[], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin.

        Args:
            incident: what is played.
            stage: where.
            seconds: how long it should take.
            diagnose: the verdict, as text; asked for while probes are refused.
            clock: seconds.
        """
        self.phase = Phase.STARTING
        self.verdict: str | None = None
        self._incident = incident
        self._stage = stage
        self._diagnose = diagnose
        self._clock = clock
        self._start = clock()
        self._patience = seconds * _PATIENCE_RATIO + _PATIENCE_SECONDS
        self._tasks_at_end: int | None = None
        self._healed_ticks = 0
        self._called_s: float | None = None
        self._refused_s: float | None = None

    @property
    def is_over(self) -> bool:
        """Whether it ran to its end."""
        return self.phase is Phase.OVER

    @property
    def tasks(self) -> str:
        """That count against the limit."""
        return "-" if self._stage.tasks is None else str(self._stage.tasks)

    @property
    def headline(self) -> str:
        """The incident, how many tasks there are, the limit."""
        text = f"Incident {self._incident.letter}: {self._incident.title}. {self.tasks} tasks"
        limit = _LIMITS.get(self._stage.limit or "")
        return text if limit is None else f"{text}, {limit}"

    @property
    def line(self) -> str:
        """What happens now."""
        incident, stage = self._incident, self._stage
        refused = (
            f"a probe of {incident.victim} was refused: {stage.refusal_text} "
            f"({stage.refused_probes} so far)"
        )
        healed = f"probes of {incident.victim} succeed again"
        return {
            Phase.STARTING: "workloads start",
            Phase.GROWING: self._growing,
            Phase.REFUSING: refused,
            Phase.ENDING: f"kill -9 of {incident.culprits}; the next probe will tell",
            Phase.HEALED: healed,
            Phase.OVER: healed,
        }[self.phase]

    @property
    def _growing(self) -> str:
        text = f"{self._incident.culprits} growing, probes of {self._incident.victim} succeed"
        if self._called_s is None:
            return text
        return f"explosion called after {self._called_s - self._start:.0f} s; {text}"

    @property
    def _lead(self) -> str:
        """How long before the first refusal it was called."""
        if self._called_s is None or self._refused_s is None or self._called_s > self._refused_s:
            return ""
        return f"called {self._refused_s - self._called_s:.0f} s before the first refusal; "

    @property
    def ending(self) -> str:
        """What ended it, in the past tense."""
        # RESERVED_PIDS in kernel/pid.c: why fewer tasks fit than pid_max says.
        once = " (PIDs below 300 are given out once only)" if self._stage.limit == "pid_max" else ""
        return (
            f"{self._lead}{self._stage.refused_probes} probes of {self._incident.victim} were "
            f"refused; after "
            f"kill -9 of {self._incident.culprits} they succeeded again, and of "
            f"{self._tasks_at_end} tasks {self._stage.tasks} were left" + once
        )

    def on_happenings(self, happened: Happenings) -> None:
        """Note when it was called, and when first refused; the stage is looked at once a tick."""
        self._note(happened.explosions, happened.refusals)

    def on_snapshot(self, snapshot: Snapshot) -> None:
        """Move on.

        Raises:
            UnavailableError: the stage failed, or it takes far too long.
        """
        self._note(snapshot.explosions, snapshot.refusals)
        self._stage.take_in()
        self._advance()
        if not self.is_over and self._clock() - self._start > self._patience:
            raise UnavailableError(
                f"incident {self._incident.letter} did not come to its end within "
                f"{self._patience:.0f} s ({self.tasks} tasks, {self._stage.refused_probes} probes "
                "refused): try with a longer --seconds"
            )

    def _note(self, explosions: Sequence[Explosion], refusals: Sequence[Refusal]) -> None:
        if self._called_s is None and explosions:
            self._called_s = self._clock()
        if self._refused_s is None and refusals:
            self._refused_s = self._clock()

    def _advance(self) -> None:
        stage = self._stage
        if self.phase is Phase.STARTING and stage.limit is not None:
            self.phase = Phase.GROWING
        if self.phase is Phase.GROWING and stage.refused_probes:
            self.phase = Phase.REFUSING
        if self.phase is Phase.REFUSING and stage.refused_probes >= _REFUSED_PROBES:
            self.verdict = self._diagnose()
            self._tasks_at_end = stage.tasks
            stage.end_culprits()
            self.phase = Phase.ENDING
        elif self.phase is Phase.ENDING and not stage.is_last_probe_refused:
            self.phase = Phase.HEALED
        elif self.phase is Phase.HEALED:
            self._healed_ticks += 1
            if self._healed_ticks >= _HEALED_TICKS:
                self.phase = Phase.OVER
