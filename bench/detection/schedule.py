"""Runs the set: the lanes beside each other below one agent, then what has to be alone, each so."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from bench.detection.judging import NotAsIntended, Outcome, judge
from bench.detection.polling import Poll, polling
from bench.detection.running import Prepared, Run, arena, kill_all, place_in, prepare, run
from bench.detection.tools import Tools
from bench.detection.watching import (
    agent_to_file,
    calls_in,
    events_of,
    is_within,
    wall_clock_offset,
)
from bench.detection.workload import Workload

_BETWEEN_SECONDS = 1.0
_AFTER_SECONDS = 3.0


@dataclass(slots=True)
class Found:
    """What the set gave."""

    outcomes: list[Outcome] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    """Workloads that were called and are none of the set: other load on the machine."""
    problems: list[str] = field(default_factory=list)
    """Workloads that did not do what they should."""


def run_set(workloads: Sequence[Workload], directory: Path, keep: Path | None) -> Found:
    """Run them all. Raises CannotRun before anything has started."""
    tools, found = Tools(directory), Found()
    lanes: dict[str, list[Workload]] = {}
    for workload in workloads:
        if workload.lane != "alone":
            lanes.setdefault(workload.lane, []).append(workload)
    batches = [list(lanes.values())] if lanes else []
    batches += [[[workload]] for workload in workloads if workload.lane == "alone"]
    for number, batch in enumerate(batches):
        scratch = directory / f"batch-{number}"
        scratch.mkdir(mode=0o755)
        _run_batch(batch, tools, scratch, keep, found)
        shutil.rmtree(scratch, ignore_errors=True)
    found.outcomes.sort(key=lambda outcome: workloads.index(outcome.workload))
    return found


def _run_batch(
    lanes: list[list[Workload]], tools: Tools, scratch: Path, keep: Path | None, found: Found
) -> None:
    stream = scratch / "stream.jsonl"
    with arena() as top:
        prepared = [[_prepare(one, top, tools, scratch) for one in lane] for lane in lanes]
        paths = [one.place.cgroup for lane in prepared for one in lane]
        with agent_to_file(scratch, stream), polling(paths) as poll:
            runs = _run_lanes(prepared, top)
            time.sleep(_AFTER_SECONDS)
    lines = stream.read_bytes().splitlines()
    found.strays += _strays(lines, paths)
    for one in runs:
        _judge(one, lines, poll, found)
    if keep is not None:
        _keep(runs, stream, poll, keep)


def _prepare(workload: Workload, top: str, tools: Tools, scratch: Path) -> Prepared:
    place = place_in(top, workload, scratch)
    return prepare(workload, place, workload.command(tools, place))


def _run_lanes(lanes: Sequence[Sequence[Prepared]], top: str) -> list[Run]:
    runs: list[Run] = []
    failures: list[BaseException] = []
    stop = threading.Event()

    def work(lane: Sequence[Prepared]) -> None:
        try:
            for one in lane:
                if stop.wait(_BETWEEN_SECONDS):
                    return
                _say(f"{one.workload.name} starts")
                runs.append(run(one))
        except Exception as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(lane,), daemon=True) for lane in lanes]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    finally:
        stop.set()
        kill_all(top)
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
    return runs


def _judge(one: Run, lines: Sequence[bytes], poll: Poll, found: Found) -> None:
    try:
        outcome = judge(one, events_of(lines, one.path), poll.samples[one.path])
    except NotAsIntended as problem:
        found.problems.append(str(problem))
        _say(f"PROBLEM: {problem}")
    else:
        found.outcomes.append(outcome)


def _strays(lines: Sequence[bytes], paths: Sequence[str]) -> list[str]:
    return [
        call["threadtrace"]["workload"]["name"]
        for call in calls_in(lines)
        if not any(is_within(call, path) for path in paths)
    ]


def _keep(runs: Sequence[Run], stream: Path, poll: Poll, keep: Path) -> None:
    """The raw observations, one directory a workload; workloads of a batch share the stream."""
    first: Path | None = None
    for one in runs:
        directory = keep / one.workload.name
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        target = directory / "stream.jsonl"
        if first is None:
            shutil.copyfile(stream, target)
            first = target
        else:
            os.link(first, target)
        (directory / "label.json").write_text(json.dumps(_label(one), indent=2))
        samples = [
            (_wall(seen.when), seen.used_ratio, seen.tasks) for seen in poll.samples[one.path]
        ]
        (directory / "poll.json").write_text(json.dumps(samples))


def _label(one: Run) -> dict[str, object]:
    workload = one.workload
    return {
        "name": workload.name,
        "label": workload.label,
        "half": workload.half,
        "what": workload.what,
        "cgroup": one.path,
        "limit": workload.limit,
        "pid_max": workload.pid_max,
        "start": _wall(one.start),
        "onset": _wall(one.onset) if workload.label == "malign" else None,
        "end": _wall(one.end),
        "tasks_peak": one.peak,
    }


def _wall(moment: float) -> str:
    """A moment of CLOCK_MONOTONIC as the events write it, to the microsecond."""
    when = datetime.fromtimestamp(moment + wall_clock_offset(), timezone.utc)
    return when.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
