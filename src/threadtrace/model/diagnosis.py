"""The answer of ``threadtrace why``: can this node fork, who is in the way, what to do. Pure."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import NamedTuple

from threadtrace.identity.workloads import Workload
from threadtrace.model.explosion import Explosion
from threadtrace.model.refusal import Culprit, Refusal
from threadtrace.model.snapshot import NodeSnapshot
from threadtrace.probe.records import Limit

# From what use of a limit on it is said to be near.
NEAR_RATIO = 0.8


class State(str, enum.Enum):
    """How the node stands."""

    HEALTHY = "healthy"
    PRESSURE = "pressure"
    REFUSING = "refusing"
    UNKNOWN = "unknown"


class VictimCount(NamedTuple):
    """Who was refused by a cause, how often and when; nanoseconds since the epoch."""

    workload: Workload
    refused: int
    first_ns: int
    last_ns: int
    is_gone: bool = False
    """Whether its cgroup is."""


class Cause(NamedTuple):
    """A limit that has refused clones since the agent began to watch."""

    last: Refusal
    """The last one that was explained: limit, owner, knob, culprits."""
    victims: tuple[VictimCount, ...]
    """Most refused first."""
    is_now: bool
    """Whether it still does."""

    @property
    def refused(self) -> int:
        """All refusals by this limit."""
        return sum(victim.refused for victim in self.victims)

    @property
    def is_own_limit(self) -> bool:
        """Whether nobody suffers but who holds it: one victim, and nobody else counts."""
        if len(self.victims) != 1:
            return False
        holders = {culprit.workload.key for culprit in self.last.culprits}
        return self.last.is_own_limit or holders == {self.victims[0].workload.key}


class NearLimit(NamedTuple):
    """The limit of which most is used."""

    limit: Limit
    owner: str
    value: int
    """That can be used: pid_max less what is never given out again."""
    usage: int
    knob: str
    holders: tuple[Culprit, ...]
    fastest: Workload | None
    """Who grows fastest of those who count against it; None when nobody does."""
    fastest_per_second: float

    @property
    def used_ratio(self) -> float:
        """1 when nothing is left."""
        return self.usage / self.value if self.value > 0 else 1.0


class Diagnosis(NamedTuple):
    """One answer."""

    time_ns: int
    """Since the epoch."""
    state: State
    node: NodeSnapshot
    causes: tuple[Cause, ...]
    """Those that refuse now first, then by refusals."""
    nearest: NearLimit | None
    explosions: tuple[Explosion, ...] = ()
    """Those under way."""


# What else the kernel answers is a mistake or a ban, and no limit that fills up.
_NO_LIMIT = {Limit.OTHER}


def state_of(
    causes: Sequence[Cause], nearest: NearLimit | None, explosions: Sequence[Explosion] = ()
) -> State:
    """Refusing: others suffer now.

    Pressure: one suffers from its own limit, a limit is near, or a workload explodes.
    """
    now = [cause for cause in causes if cause.is_now and cause.last.limit not in _NO_LIMIT]
    if any(not cause.is_own_limit for cause in now):
        return State.REFUSING
    if now or explosions or (nearest is not None and nearest.used_ratio >= NEAR_RATIO):
        return State.PRESSURE
    return State.UNKNOWN if nearest is None else State.HEALTHY
