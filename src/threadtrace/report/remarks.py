"""The recording itself: what it holds, and what is wrong with it or missing in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from threadtrace.report.collecting import NodeRecord, Recording
from threadtrace.report.model import About, OtherNode, Outcome
from threadtrace.report.notes import Notes
from threadtrace.report.reading import KNOWN_MINOR, MAJOR
from threadtrace.report.runs import Run
from threadtrace.report.words import day_and_time, duration, plural, short_name

_MAX_RUNS_TOLD = 5
_MAX_NODES_TOLD = 20

_Judge = Callable[[NodeRecord], Outcome]
_Count = Callable[[NodeRecord], int | None]


def about(
    recording: Recording,
    node: NodeRecord,
    runs: Sequence[Run],
    source: str,
    outcome_of: _Judge,
    refused_on: _Count,
) -> About:
    """What is to be said of the file, and of this node's part of it."""
    others = [
        OtherNode(other.name, outcome_of(other), refused_on(other) or 0)
        for other in recording.nodes.values()
        if other is not node
    ]
    others.sort(key=lambda other: (list(Outcome).index(other.outcome), other.refused_count))
    kernels = [run.kernel_release for run in runs if run.kernel_release]
    return About(
        source=source,
        start_ns=node.first_ns,
        end_ns=node.last_ns,
        events_count=node.events,
        runs_count=len(runs),
        agent_versions=tuple(sorted({run.version for run in runs if run.version})),
        kernel_release=kernels[-1] if kernels else None,
        workloads_count=len(node.workloads.by_key) + node.workloads.forgotten,
        remarks=(*_of_file(recording), *_of_runs(runs), *_of_node(node)),
        other_nodes=tuple(reversed(others[-_MAX_NODES_TOLD:])),
    )


def _of_file(recording: Recording) -> Iterator[str]:
    notes = recording.notes
    if notes.is_cut_off:
        yield "The file is cut off: its last line is not complete."
    if notes.damage is not None:
        yield f"The gzip file is damaged ({short_name(notes.damage)}): what follows is not read."
    if notes.not_json:
        yield f"Left out, since not JSON: {plural(notes.not_json, 'line')}."
    if notes.too_long:
        yield f"Left out, since longer than 1 MiB: {plural(notes.too_long, 'line')}."
    if notes.not_events:
        yield f"Left out, since not events of threadtrace: {plural(notes.not_events, 'line')}."
    if notes.duplicates:
        yield f"There more than once, and counted once: {plural(notes.duplicates, 'event')}."
    yield from _of_versions(notes)
    if recording.unlisted_events:
        yield (
            f"There are more runs or nodes than can be told apart: "
            f"{plural(recording.unlisted_events, 'event')} were left out."
        )


def _of_versions(notes: Notes) -> Iterator[str]:
    if notes.newer_minor:
        versions = ", ".join(map(short_name, sorted(notes.newer_minor)))
        yield (
            f"Written by a newer threadtrace (schema_version {versions}, known here is "
            f"{MAJOR}.{KNOWN_MINOR}): fields that are new are not shown."
        )
    for name, count in notes.unknown_events.most_common(5):
        yield f"Left out, since not known here: {plural(count, 'event')} called {short_name(name)}."
    for version, count in notes.other_major.most_common(5):
        yield (
            f"Left out: {plural(count, 'event')} of schema_version {short_name(version)}, "
            "which this threadtrace cannot read."
        )


def _of_runs(runs: Sequence[Run]) -> Iterator[str]:
    if len(runs) > 1:
        yield f"threadtrace ran {len(runs)} times; between the runs nothing was watched."
    missing = sum(run.sequences.missing for run in runs)
    if missing:
        yield (
            f"Missing: {plural(missing, 'event')} (gaps in event.sequence); what they told is "
            "not in this report."
        )
    begins_late = [run for run in runs if run.sequences.first > 1]
    if begins_late:
        first = begins_late[0]
        yield (
            f"It begins within a run, at event {first.sequences.first:,}: what was before is "
            "not known."
        )
    out_of_order = sum(run.out_of_order for run in runs)
    if out_of_order:
        yield f"Out of order, and put in order: {plural(out_of_order, 'event')}."
    for run in runs[:_MAX_RUNS_TOLD]:
        if run.clock_back_count:
            yield (
                f"The clock went back {plural(run.clock_back_count, 'time')}, by "
                f"{duration(run.clock_back_ns)} at most: times around it overlap."
            )
        for what, effect, remedy in run.missing_parts:
            hint = f" ({short_name(remedy, 200)})" if remedy else ""
            yield f"Missing on that node: {short_name(what)}: {short_name(effect, 200)}{hint}."


def _of_node(node: NodeRecord) -> Iterator[str]:
    for where, lost in node.losses.items():
        first = day_and_time(node.loss_times[where])
        yield f"threadtrace lost {lost:,} of {short_name(where)}, first told at {first}."
    if not node.ticks:
        yield "It has no threadtrace.node.limits events: the node's tasks and limits are not known."
    elif not node.counts_refusals:
        yield "Refused clones were not counted."
    if node.refused_in_ticks and not node.causes.by_key:
        yield "It has no threadtrace.fork.refused events: who was refused, and why, is not known."
    if node.workloads.forgotten:
        yield (
            f"{plural(node.workloads.forgotten, 'small workload')} are not told apart, since there "
            "were too many."
        )
    if node.episodes.unlisted:
        yield f"{plural(len(node.episodes.unlisted), 'more explosion')} are not told, or more."
    if node.causes.unlisted:
        yield f"{plural(node.causes.unlisted, 'refusal')} by further limits are not told apart."
