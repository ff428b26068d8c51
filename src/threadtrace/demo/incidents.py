"""What the demo plays: who leaks, how fast, and who suffers. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

MAX_TASKS = 500
"""The limit that is used up: no incident ever holds more tasks at a time."""

# Used up by the start of containers and by probes: ids below 300 are given out once only.
_LEAKED_TASKS = 430

# From the limit on: three refused probes, the verdict, and the time to see it heal.
_END_SECONDS = 9.0
_LEAST_GROWTH_SECONDS = 3.0

# How often the rate of a storm doubles until the limit is reached.
_DOUBLINGS = 5


@dataclass(frozen=True, slots=True)
class Actor:
    """One workload: a container of its own, or a cgroup where there is no runc."""

    name: str
    """Of the workload."""
    process: str
    """What its process calls itself."""
    program: str
    """File in ``roles``."""
    arguments: tuple[str, ...] = ()
    is_culprit: bool = False


@dataclass(frozen=True, slots=True)
class Incident:
    """One of the two."""

    letter: str
    title: str
    actors: tuple[Actor, ...]

    @property
    def culprits(self) -> str:
        """Their names, for people."""
        return " and ".join(actor.name for actor in self.actors if actor.is_culprit)

    @property
    def victim(self) -> str:
        """Whose probe is refused."""
        return next(actor.name for actor in self.actors if not actor.is_culprit)


def incident_a(seconds: float) -> Incident:
    """A service leaks threads at a steady rate."""
    rate = _LEAKED_TASKS / _growth_seconds(seconds)
    leak = _leak("shop-orders", "orders", "pool-1-thread-#", rate, 0.0)
    return Incident("A", "a service leaks threads", (_VICTIM, leak))


def incident_b(seconds: float) -> Incident:
    """Two processes whose pools add threads faster and faster, since their work items block."""
    growth = _growth_seconds(seconds)
    doubles_every = growth / _DOUBLINGS
    first = _LEAKED_TASKS * math.log(2) / (doubles_every * (2**_DOUBLINGS - 1))
    # 21,317 and 7,853 threads were they on the night of the incident.
    pools = tuple(
        _leak(name, "pricing", ".NET TP Worker", first * share, doubles_every)
        for name, share in (("shop-pricing-1", 0.73), ("shop-pricing-2", 0.27))
    )
    return Incident("B", "two blocked thread pools grow faster and faster", (_VICTIM, *pools))


_VICTIM = Actor("calico-node", "probe", "probe.py")


def _leak(
    name: str, process: str, thread_name: str, per_second: float, doubles_every: float
) -> Actor:
    numbers = (f"{per_second:.3f}", f"{doubles_every:.3f}", str(MAX_TASKS))
    return Actor(name, process, "leak.py", (thread_name, *numbers), is_culprit=True)


def _growth_seconds(seconds: float) -> float:
    return max(_LEAST_GROWTH_SECONDS, seconds - _END_SECONDS)
