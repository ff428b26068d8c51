"""The views of ``threadtrace top``: they render snapshots and compute nothing."""

from __future__ import annotations

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import NamedTuple

import orjson
from rich.console import Console
from rich.live import Live

from threadtrace.errors import OutputError
from threadtrace.model.danger import by_danger
from threadtrace.model.explosion import Explosion, Transition
from threadtrace.model.refusal import Refusal
from threadtrace.model.snapshot import Happenings, Loss, Snapshot
from threadtrace.output import table
from threadtrace.output.events import describe_loss, describe_refusal
from threadtrace.output.explosions import (
    describe_explosion,
    explosion_under_way_fields,
    workload_forecast_fields,
)
from threadtrace.output.fields import (
    Fields,
    node_fields,
    rates_fields,
    refusal_fields,
    without_refusals,
    workload_fields,
    workload_label,
)
from threadtrace.output.sink import LineSink, ReaderGone

_PLAIN_ROWS = 1_000_000
_WIDTH_OF_FILES = 160

_KEPT_REFUSALS = 64


class Limitations(NamedTuple):
    """What this agent cannot see."""

    missing: Sequence[Mapping[str, str]] = ()
    """As in ``threadtrace.started``: what, effect, remedy."""
    counts_refusals: bool = True


class _View(ABC):
    """A context manager that takes snapshots and, at the end, may show the last one."""

    _refusals_stay_ns = 0
    """How long a refusal is shown again with the samples that follow."""

    def __init__(self, limits: Limitations, is_last_only: bool) -> None:
        self._limits = limits
        self._is_last_only = is_last_only
        self._lost: dict[str, int] = {}
        self._last: Snapshot | None = None
        self._refusals: list[Refusal] = []
        self._explosions: dict[int, Explosion] = {}

    def __enter__(self) -> _View:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None and self._is_last_only and self._last is not None:
            self._show(self._last)

    @property
    def lost_lines(self) -> int:
        """What could not be written, where that is not an error at once."""
        return 0

    def on_happenings(self, happened: Happenings) -> None:
        """Keep refusals for the next snapshot; new workloads are in it anyway."""
        self._refusals += happened.refusals
        self._note_explosions(happened.explosions)

    def on_snapshot(self, snapshot: Snapshot) -> None:
        """Show it, or keep it for the end."""
        for loss in snapshot.losses:
            self._lost[loss.where] = self._lost.get(loss.where, 0) + loss.lost
        self._refusals += snapshot.refusals
        self._note_explosions(snapshot.explosions)
        self._last = snapshot
        if not self._is_last_only:
            self._show(snapshot)
            since_ns = snapshot.time_ns - self._refusals_stay_ns
            recent = [entry for entry in self._refusals if entry.time_ns > since_ns]
            self._refusals = recent[-_KEPT_REFUSALS:]

    def _note_explosions(self, explosions: Iterable[Explosion]) -> None:
        """Keep those that are under way."""
        for explosion in explosions:
            if explosion.transition is Transition.ENDED:
                self._explosions.pop(explosion.number, None)
            else:
                self._explosions[explosion.number] = explosion

    def _verdict(self) -> str | None:
        """The last refusal in words, of a limit that others suffer from before one's own.

        Where nothing is refused, the largest explosion.
        """
        told = [refusal for refusal in self._refusals if not refusal.is_own_limit]
        if told or self._refusals:
            return describe_refusal((told or self._refusals)[-1])
        explosions = self._explosions.values()
        largest = max(explosions, key=lambda explosion: explosion.tasks, default=None)
        return None if largest is None else describe_explosion(largest)

    def _warnings(self) -> list[str]:
        lost = [describe_loss(Loss(where, count)) for where, count in self._lost.items()]
        notes = [
            f"{entry['what']}: {entry['effect']} ({entry['remedy']})"
            for entry in self._limits.missing
        ]
        return [*notes, *lost]

    @abstractmethod
    def _show(self, snapshot: Snapshot) -> None:
        """Bring one sample to the output."""


class JsonView(_View):
    """One object a sample: ``{"node": {...}, "workloads": [...]}``, the fields of the events."""

    def __init__(
        self, limits: Limitations, is_last_only: bool, is_stopping: Callable[[], bool]
    ) -> None:
        """Writes to standard output."""
        super().__init__(limits, is_last_only)
        self._sink = LineSink.open("-", is_stopping)

    @property
    def lost_lines(self) -> int:
        """Samples that found the output full."""
        return self._sink.total_lost

    def _show(self, snapshot: Snapshot) -> None:
        interval = snapshot.node.interval_seconds
        counted = dict if self._limits.counts_refusals else without_refusals
        workloads: list[Fields] = [
            {
                **workload_fields(entry.workload),
                "workload": workload_label(entry.workload),
                **counted(rates_fields(entry, interval)),
                **workload_forecast_fields(entry),
            }
            for entry in by_danger(snapshot.workloads)
        ]
        losses = [{"where": where, "lost_count": count} for where, count in self._lost.items()]
        refusals = [
            {**workload_fields(entry.victim.workload), **refusal_fields(entry)}
            for entry in self._refusals
        ]
        explosions = [explosion_under_way_fields(entry) for entry in self._explosions.values()]
        sample = {
            "node": counted(node_fields(snapshot.node)),
            "workloads": workloads,
            "refusals": refusals,
            "explosions": explosions,
            "losses": losses,
            "missing": self._limits.missing,
        }
        self._sink.write([orjson.dumps(sample, option=orjson.OPT_APPEND_NEWLINE)])


class PlainView(_View):
    """Tables one below the other, for pipes and files: every workload, no colours."""

    def __init__(self, limits: Limitations, is_last_only: bool) -> None:
        """Writes to standard output."""
        super().__init__(limits, is_last_only)
        self._console = _console()

    def _show(self, snapshot: Snapshot) -> None:
        workloads = by_danger(snapshot.workloads)
        frame = table.render(
            snapshot,
            workloads,
            self._warnings(),
            self._console.width,
            _PLAIN_ROWS,
            self._limits.counts_refusals,
            self._verdict(),
        )
        self._console.print(frame)
        self._console.file.flush()


class LiveView(_View):
    """The whole terminal, drawn anew with each sample."""

    _refusals_stay_ns = 10_000_000_000

    def __init__(self, limits: Limitations) -> None:
        """Needs a terminal."""
        super().__init__(limits, is_last_only=False)
        self._console = _console()
        # Without a thread of its own: rich starts one only to refresh by itself.
        self._live = Live(
            console=self._console,
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.stop()

    def _show(self, snapshot: Snapshot) -> None:
        warnings = self._warnings()
        width, height = self._console.size
        verdict = self._verdict()
        rows = height - table.head_lines([*warnings, *([verdict] if verdict else [])], width)
        workloads, counts_refusals = by_danger(snapshot.workloads), self._limits.counts_refusals
        frame = table.render(snapshot, workloads, warnings, width, rows, counts_refusals, verdict)
        self._live.update(frame, refresh=True)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """As every other writer tells it; rich itself would leave with exit code 1."""
        raise ReaderGone from None


def is_terminal() -> bool:
    """Whether standard output can be drawn on."""
    console = _console()
    return console.is_terminal and not console.is_dumb_terminal


def _console() -> Console:
    if sys.stdout is None:
        raise OutputError("standard output is closed: redirect it to a file")
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a locale that lacks what a name needs
    console = _Console(highlight=False, markup=False, emoji=False)
    if not (console.is_terminal or _has_known_width()):
        console.width = _WIDTH_OF_FILES
    return console


def _has_known_width() -> bool:
    """Whether rich finds a width: in COLUMNS, or of any terminal that this process has."""
    return os.environ.get("COLUMNS", "").isdigit() or any(map(os.isatty, range(3)))
