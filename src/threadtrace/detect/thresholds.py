"""From when on growth is called an explosion. Every one can be set, see ``detect/config.py``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


def _within(default: float, lowest: float, highest: float) -> Any:
    return field(default=default, metadata={"min": lowest, "max": highest})


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Of one workload. ``docs/detection.md`` tells how the defaults were found."""

    burst_tasks: int = _within(210, 16, 1_000_000)
    """Tasks gained at once that are called a burst. Fewer are how programs start."""
    burst_tasks_per_second: float = _within(800.0, 1.0, 1e6)
    """How fast they have to come, on average since the growth began."""
    burst_seconds: float = _within(0.2, 0.05, 3600.0)
    """How long they have to come. Pools of usual size are complete by then."""
    jump_tasks: int = _within(700, 16, 1_000_000)
    """Tasks gained, at whatever rate, while growth goes on: more than pools of usual size have, and
    than the shims of fifty containers."""
    leak_tasks: int = _within(128, 4, 1_000_000)
    """Tasks gained in a growth that has lasted ``leak_seconds``."""
    leak_seconds: float = _within(15.0, 1.0, 86_400.0)
    """How long a slower growth has to last."""
    leak_tasks_per_second: float = _within(5.0, 0.01, 1e6)
    """Growth slower than this has to gain more than ``leak_tasks``: by its share of this rate, to
    the power of 0.6, since pools that grow with their load are slow too."""
    steady_seconds: float = _within(180.0, 1.0, 86_400.0)
    """Growth that has been steady for so long needs ``leak_tasks`` however slow it is (more after
    ten minutes: by the square root of the time): pools have their size by then."""
    limit_seconds: float = _within(60.0, 1.0, 86_400.0)
    """A limit this near in time, of which much is used and a quarter was gained, is called too."""
    limit_used_ratio: float = _within(0.5, 0.0, 1.0)
    """How much of it has to be used for that."""
    storm_per_second: float = _within(3_000.0, 1.0, 1e7)
    """Births a second, with as many exits, that are called a storm. A shell on one CPU makes
    1,000 to 2,000."""
    storm_seconds: float = _within(5.0, 0.5, 86_400.0)
    """How long a storm has to last."""
    recover_seconds: float = _within(10.0, 1.0, 86_400.0)
    """No growth for so long, and the explosion is said to recover."""
    plateau_seconds: float = _within(60.0, 1.0, 86_400.0)
    """No growth for so long, and it has ended."""
