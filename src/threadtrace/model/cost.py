"""What the agent itself costs and delivers, as its metrics tell."""

from __future__ import annotations

from typing import NamedTuple


class AgentCost(NamedTuple):
    """Of this process, since its start where not said otherwise."""

    cpu_seconds: float
    """User and system time."""
    resident_bytes: int
    open_descriptors: int
    ticks: int
    tick_seconds: float
    """How long the last tick took."""
    lag_seconds: float
    """By how much the last tick began later than it was due."""
    interval_seconds: float
    """Between two ticks now: longer than asked for while the processor time does not suffice."""


class DeliveryState(NamedTuple):
    """One output of the event stream."""

    name: str
    """As on the command line."""
    written: int
    """Lines, since the start."""
    lost: int
    """Lines dropped for want of room or of a reader, since the start."""
    buffered_bytes: int
    """Waiting now."""
    is_connected: bool
    """Whether it could be written to the last time."""
