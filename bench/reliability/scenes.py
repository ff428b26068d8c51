"""The scenes, in the order of the document."""

from __future__ import annotations

from dataclasses import dataclass

from bench.reliability import alive, crowd, incident, lives, sinks, soak, starvation, strangers
from bench.reliability.work import Scene


@dataclass(frozen=True)
class Entry:
    scene: Scene
    method: str
    within_seconds: float
    """After which it is given up."""


SCENES: dict[str, Entry] = {
    "incident": Entry(incident.scene, incident.__doc__ or "", 420),
    "alive": Entry(alive.scene, alive.__doc__ or "", 300),
    "sinks": Entry(sinks.scene, sinks.__doc__ or "", 480),
    "lives": Entry(lives.scene, lives.__doc__ or "", 300),
    "strangers": Entry(strangers.scene, strangers.__doc__ or "", 480),
    "crowd": Entry(crowd.scene, crowd.__doc__ or "", 300),
    "starvation": Entry(starvation.scene, starvation.__doc__ or "", 300),
    "soak": Entry(soak.scene, soak.__doc__ or "", 300),
}
