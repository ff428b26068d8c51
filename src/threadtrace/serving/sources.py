"""What the server tells, and where it has it from: plain callables, no kernel behind them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from threadtrace.connection import Stream
from threadtrace.questions import Handler
from threadtrace.serving.history import History

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sources:
    """All are called in the server's loop, and none may block."""

    questions: Mapping[str, Handler]
    """``threadtrace.questions.handlers``: why, workload, process. Each may raise WrongQuestion, or
    OSError of a reading that failed."""
    snapshot: Callable[[], Fields | None]
    """The object of ``top --once --json``; None before the first tick."""
    metrics: Callable[[str], tuple[bytes, str]]
    """By the value of ``Accept``: the exposition and its content type."""
    health: Callable[[], str | None]
    """None while ticks come; else what is wrong, in one line."""
    is_ready: Callable[[], bool]
    """Whether there was a tick."""
    listen: Callable[[], Stream]
    """The events as a run of its own for each reader; an empty line ends each tick."""
    history: History
    """The lines that the outputs get."""
