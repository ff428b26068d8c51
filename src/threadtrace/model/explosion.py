"""A thread explosion, as it is told: who, since when, on what evidence, how long is left."""

from __future__ import annotations

import enum
from typing import NamedTuple

from threadtrace.identity.workloads import Workload
from threadtrace.model.snapshot import ProcessSnapshot, Totals
from threadtrace.probe.records import Limit


class Transition(str, enum.Enum):
    """What is told of an episode; also the last part of ``event.name``."""

    STARTED = "started"
    UPDATED = "updated"
    ENDED = "ended"


class Shape(str, enum.Enum):
    """How it explodes."""

    LEAK = "leak"
    """The stock grows and does not come back."""
    STORM = "storm"
    """Births and exits are both extreme."""


class State(str, enum.Enum):
    """How a workload stands."""

    QUIET = "quiet"
    GROWING = "growing"
    EXPLODING = "exploding"
    EXHAUSTED = "exhausted"
    RECOVERING = "recovering"


class End(str, enum.Enum):
    """Why an episode is over."""

    GONE = "gone"
    FELL_BACK = "fell_back"
    PLATEAU = "plateau"
    CALMED = "calmed"
    """A storm that is over."""
    AGENT_STOPPED = "agent_stopped"


class Evidence(NamedTuple):
    """On what an explosion was called."""

    rule: str
    """``burst``, ``jump``, ``leak``, ``limit``, ``storm`` or ``refused``."""
    gained: int
    """Tasks since the growth began."""
    growing_seconds: float
    growth_per_second: float
    """Mean since the growth began."""
    needed: float
    """The rule's threshold: of ``gained``, of births a second for a storm, of seconds left for a
    limit."""


class Forecast(NamedTuple):
    """The limit that will be exhausted first at the present growth."""

    limit: Limit
    owner: str
    value: int
    """That can be used."""
    usage: int
    seconds: float | None
    """Until nothing is left; None when its usage does not grow."""
    knob: str


class VictimCount(NamedTuple):
    """Another workload that was refused by a limit which binds both."""

    workload: Workload
    refused: int


class CreatingProcess(NamedTuple):
    """The process that creates most; ``None`` where it could not be read."""

    pid: int
    name: str
    vpid: int | None = None
    parent_pid: int | None = None
    command_line: str | None = None
    parent_command_line: str | None = None


class ThreadName(NamedTuple):
    """Threads whose names differ in their digits only."""

    name: str
    """With ``#`` for every run of digits."""
    threads: int


class Rates(NamedTuple):
    """Per second, lately."""

    threads_created: float
    processes_created: float
    exited: float


class Explosion(NamedTuple):
    """One transition of an episode, or an update in between."""

    transition: Transition
    number: int
    """Of the episode, from 1, within a run of the agent."""
    time_ns: int
    """Since the epoch."""
    onset_ns: int
    """When the growth began, since the epoch."""
    workload: Workload
    state: State
    shape: Shape
    evidence: Evidence
    tasks: int
    tasks_at_start: int
    tasks_peak: int
    counts: Totals
    """Since the onset."""
    growth_per_second: float
    """Now."""
    rates: Rates
    share_of_node_ratio: float | None
    forecast: Forecast | None
    process: CreatingProcess | None
    thread_names: tuple[ThreadName, ...]
    top_processes: tuple[ProcessSnapshot, ...]
    victims: tuple[VictimCount, ...]
    """Most refused first."""
    victims_count: int
    ended: End | None = None

    @property
    def duration_seconds(self) -> float:
        """Since the onset."""
        return max(0.0, (self.time_ns - self.onset_ns) / 1e9)
