"""``python -m bench.detection.fitting DIR``: which thresholds fit the kept half of the set.

DIR is what ``make bench-detection ARGS="--keep DIR"`` left. The tasks of each workload, second by
second, go through the detector again, with every combination of thresholds. Among those that call
each malign workload of the half *fit* and no benign one, not even were it a tenth larger, the one
that leaves most of the time until the refusal is best. The half *report* is only told.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from threadtrace.detect.thresholds import Thresholds
from threadtrace.detect.track import Observation, Track
from threadtrace.detect.trend import Trend
from threadtrace.model.explosion import Forecast, Transition
from threadtrace.probe.records import Limit

MARGIN = 1.1

GRID: dict[str, Sequence[float]] = {
    "jump_tasks": (500, 700, 1_000, 1_500),
    "leak_tasks": (64, 96, 112, 128, 144, 160),
    "leak_seconds": (10, 15, 20, 30),
    "limit_seconds": (30, 60, 120),
    "limit_used_ratio": (0.3, 0.4, 0.5, 0.6),
    "storm_per_second": (1_500, 3_000, 6_000),
}


@dataclass(frozen=True, slots=True)
class Second:
    """One sample of a workload."""

    time_s: float
    tasks: int
    created_per_second: float
    exited_per_second: float
    process_ratio: float


@dataclass(frozen=True, slots=True)
class Kept:
    """One workload as it was recorded: each of its cgroups is followed by itself."""

    name: str
    is_malign: bool
    half: str
    limit: int | None
    onset_s: float
    refused_s: float | None
    cgroups: tuple[tuple[Second, ...], ...]


def main(directory: Path) -> int:
    kept = [_load(path) for path in sorted(directory.iterdir()) if (path / "label.json").exists()]
    fit = [one for one in kept if one.half == "fit"]
    ranked = sorted(_ranked(fit), key=lambda entry: entry[0])
    if not ranked:
        print("no combination calls each malign workload and no benign one")
        return 1
    print(f"{len(ranked)} of {len(list(_combinations()))} combinations make no mistake in fit")
    for cost, thresholds in ranked[:5]:
        print(f"{cost:.4f}  {_words(thresholds)}")
    default = Thresholds()
    print(f"\nthe defaults: {_words(default)}")
    for one in kept:
        after = called_after(one, default, 1.0)
        print(f"  {one.half:6}  {'malign' if one.is_malign else 'benign'}  {one.name:20}  {after}")
    return 0


def _ranked(kept: Sequence[Kept]) -> Iterator[tuple[float, Thresholds]]:
    for thresholds in _combinations():
        cost = _cost(kept, thresholds)
        if cost is not None:
            yield cost, thresholds


def _combinations() -> Iterator[Thresholds]:
    for values in itertools.product(*GRID.values()):
        yield Thresholds(**dict(zip(GRID, values)))


def _cost(kept: Sequence[Kept], thresholds: Thresholds) -> float | None:
    """Mean share of the time until the refusal that passes until the call; None of a mistake."""
    shares = []
    for one in kept:
        if not one.is_malign:
            if called_after(one, thresholds, MARGIN) is not None:
                return None
            continue
        after = called_after(one, thresholds, 1.0)
        if after is None:
            return None
        if one.refused_s is not None:
            shares.append(min(1.0, after / one.refused_s))
    return sum(shares) / len(shares)


def called_after(kept: Kept, thresholds: Thresholds, scale: float) -> float | None:
    """Seconds from the onset until a tick calls it, None if none does.

    Args:
        kept: the workload.
        thresholds: of the detector.
        scale: by which the number of its tasks is multiplied.
    """
    calls = [_call(kept, seconds, thresholds, scale) for seconds in kept.cgroups]
    return min((call - kept.onset_s for call in calls if call is not None), default=None)


def _call(
    kept: Kept, seconds: Sequence[Second], thresholds: Thresholds, scale: float
) -> float | None:
    track = Track(seconds[0].time_s - 1, 0, thresholds)
    use = Trend(seconds[0].time_s - 1, 0)
    for one in seconds:
        tasks = int(one.tasks * scale)
        use.add(one.time_s, tasks)
        forecast = None if kept.limit is None else _forecast(use, kept.limit, one.time_s)
        seen = Observation(
            one.time_s,
            tasks,
            one.created_per_second * scale,
            one.exited_per_second * scale,
            one.process_ratio,
            False,
            forecast,
        )
        if track.observe(seen) is Transition.STARTED:
            return one.time_s
    return None


def _forecast(use: Trend, limit: int, time_s: float) -> Forecast:
    slope = use.slope(max(use.lowest().time_s, time_s - 30))
    usage = use.last.value
    seconds = max(0, limit - usage) / slope if slope and slope > 0 else None
    return Forecast(Limit.PIDS_MAX, "/", limit, usage, seconds, "")


def _load(directory: Path) -> Kept:
    label = json.loads((directory / "label.json").read_text())
    top = label["cgroup"]
    end_s = _seconds(label["end"])
    series: dict[str, list[Second]] = {}
    refused: list[float] = []
    with (directory / "stream.jsonl").open(encoding="utf-8") as lines:
        for event in map(json.loads, lines):
            path = event.get("process", {}).get("linux", {}).get("cgroup", "")
            moment = _seconds(event["timestamp"])
            if not (path == top or path.startswith(top + "/")) or moment > end_s:
                continue
            if event["event"]["name"] == "threadtrace.workload.rates":
                series.setdefault(path, []).append(_second(moment, event["threadtrace"]))
            elif event["event"]["name"] == "threadtrace.fork.refused":
                refused.append(moment)
    onset_s = _seconds(label.get("onset") or label["start"])
    return Kept(
        label["name"],
        label["label"] == "malign",
        label["half"],
        label["limit"] or label["pid_max"],
        onset_s,
        min((when - onset_s for when in refused if when >= onset_s), default=None),
        tuple(map(tuple, series.values())),
    )


def _second(moment: float, rates: dict[str, Any]) -> Second:
    interval = max(rates["interval_seconds"], 1e-3)
    threads, processes = rates["threads_created_count"], rates["processes_created_count"]
    created = threads + processes
    return Second(
        moment,
        rates["tasks_count"],
        created / interval,
        rates["exited_count"] / interval,
        processes / created if created else 0.0,
    )


def _seconds(moment: str) -> float:
    whole, _, fraction = moment.rstrip("Z").partition(".")
    return datetime.fromisoformat(whole + "+00:00").timestamp() + float(f"0.{fraction or 0}")


def _words(thresholds: Thresholds) -> str:
    names = [entry.name for entry in fields(thresholds) if entry.name in GRID]
    return ", ".join(f"{name} {getattr(thresholds, name):g}" for name in names)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
