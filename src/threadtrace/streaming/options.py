"""What a user asks ``threadtrace stream`` for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from threadtrace.delivery.destinations import DEFAULT_BUFFER_BYTES, STANDARD_OUTPUT
from threadtrace.delivery.file import Rotation

DEFAULT_METRICS_WORKLOADS = 100


@dataclass(frozen=True)
class Listening:
    """Who may ask the agent, and where."""

    addresses: Sequence[str] = ()
    token_file: str | None = None
    certificate: str | None = None
    key: str | None = None
    metrics_workloads: int = DEFAULT_METRICS_WORKLOADS
    """How many have a series of their own."""


@dataclass(frozen=True)
class Streaming:
    """What a user wants to be told, and where."""

    interval_seconds: float
    duration_seconds: float | None = None
    """After which it ends; None: not by itself."""
    include_idle: bool = False
    outputs: Sequence[str] = (STANDARD_OUTPUT,)
    buffer_bytes: int = DEFAULT_BUFFER_BYTES
    """Of each output."""
    rotation: Rotation = field(default_factory=Rotation)
    filters: Path | None = None
    record_dir: str | None = None
    listening: Listening = field(default_factory=Listening)
