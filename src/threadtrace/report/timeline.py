"""What happened in which order: the moments that matter, the less important left out first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from threadtrace.report.collecting import NodeRecord
from threadtrace.report.episodes import EpisodeRecord
from threadtrace.report.limits import CauseRecord
from threadtrace.report.model import Culprit, Moment
from threadtrace.report.runs import Run
from threadtrace.report.words import limit_words, plural, rate, short_name

_MAX_MOMENTS = 40
_MAX_FIRST_REFUSALS = 8

_STATES = {
    "exploding": "grows again",
    "exhausted": "has exhausted its limit",
    "recovering": "recovers",
}
_SHAPES = {
    "leak": "tasks are created and stay",
    "storm": "tasks are created and end, over and over",
}
_ENDINGS = {
    "gone": "the workload is gone",
    "fell_back": "its tasks fell back",
    "plateau": "it no longer grows",
    "calmed": "births have calmed down",
    "agent_stopped": "threadtrace was stopped",
}


class _Dated(NamedTuple):
    time_ns: int
    importance: int
    """0 is told always, 2 first left out."""
    kind: str
    text: str


def timeline_of(
    node: NodeRecord,
    runs: Sequence[Run],
    causes: Sequence[CauseRecord],
    culprits: Sequence[Culprit],
) -> tuple[tuple[Moment, ...], int]:
    """The moments in order, and how many were left out."""
    dated = [*_beginnings(runs), *_of_node(node), *_of_culprits(node, culprits)]
    for cause in causes:
        dated += _of_cause(cause)
    for episode in node.episodes.by_id.values():
        dated += _of_episode(episode)
    dated.append(_Dated(max(run.last_ns for run in runs), 1, "recording", "the recording ends"))
    dated.sort(key=lambda moment: moment.time_ns)  # stable: within an instant as put together
    ranked = sorted(range(len(dated)), key=lambda at: dated[at].importance)[:_MAX_MOMENTS]
    kept = [dated[at] for at in sorted(ranked)]
    moments = tuple(Moment(moment.time_ns, moment.kind, moment.text) for moment in kept)
    return moments, len(dated) - len(kept)


def ending_words(ended_because: str | None) -> str:
    """Why an explosion is over."""
    return _ENDINGS.get(ended_because or "", "it is over")


def _beginnings(runs: Sequence[Run]) -> Iterator[_Dated]:
    for run in runs:
        text = "the recording begins" if run is runs[0] else "a new run of threadtrace begins"
        yield _Dated(run.first_ns, 1, "recording", text)


def _of_node(node: NodeRecord) -> Iterator[_Dated]:
    for time_ns, name, before, after in node.limit_changes:
        text = f"{name} of the node changes from {before:,} to {after:,}"
        yield _Dated(time_ns, 0, "limit", text)
    if node.peak_tasks is not None:
        text = f"most tasks on the node: {node.peak_tasks:,}"
        yield _Dated(node.peak_tasks_ns, 1, "peak", text)
    if node.peak_refused_per_second:
        text = f"most refusals: {rate(node.peak_refused_per_second)}"
        yield _Dated(node.peak_refused_ns, 1, "peak", text)
    for where, time_ns in node.loss_times.items():
        text = f"threadtrace lost something: {node.losses[where]:,} of {short_name(where)} in all"
        yield _Dated(time_ns, 2, "loss", text)


def _of_culprits(node: NodeRecord, culprits: Sequence[Culprit]) -> Iterator[_Dated]:
    for culprit in culprits:
        record = node.workloads.named(culprit.name)
        if record is None:
            continue
        name = short_name(culprit.name)
        if record.appeared_ns is not None:
            yield _Dated(record.appeared_ns, 1, "workload", f"{name} appears")
        if record.gone_ns is not None:
            yield _Dated(record.gone_ns, 1, "workload", f"{name} is gone")


def _of_cause(cause: CauseRecord) -> Iterator[_Dated]:
    limit = limit_words(cause.limit, cause.owner, cause.value)
    victims = sorted(cause.victims.values(), key=lambda victim: victim.first_ns)
    first = f" ({short_name(victims[0].name)})" if victims else ""
    yield _Dated(cause.first_ns, 0, "refusal", f"{limit} refuses the first clone{first}")
    for victim in victims[1 : 1 + _MAX_FIRST_REFUSALS]:
        text = f"{short_name(victim.name)} is refused too"
        yield _Dated(victim.first_ns, 2, "refusal", text)
    if cause.last_ns > cause.first_ns:
        text = f"{limit} refuses for the last time here, {plural(cause.refused, 'clone')} in all"
        yield _Dated(cause.last_ns, 0, "refusal", text)


def _of_episode(episode: EpisodeRecord) -> Iterator[_Dated]:
    name = short_name(episode.name)
    if episode.onset_ns is not None:
        tasks = "" if episode.tasks_at_start is None else f" from {episode.tasks_at_start:,} tasks"
        yield _Dated(episode.onset_ns, 1, "explosion", f"{name} begins to grow{tasks}")
    shape = _SHAPES.get(episode.shape or "")
    reason = short_name(episode.reason, 300).rstrip(".") if episode.reason else shape
    text = f"{name} explodes" + (f": {reason}" if reason else "")
    yield _Dated(episode.started_ns or episode.first_ns, 0, "explosion", text)
    for _, time_ns, state in episode.states[1:]:
        if state in _STATES:
            yield _Dated(time_ns, 1, "explosion", f"{name} {_STATES[state]}")
    if episode.ended_ns is not None:
        peak = "" if episode.tasks_peak is None else f", {episode.tasks_peak:,} tasks at most"
        text = f"the explosion of {name} ends: {ending_words(episode.ended_because)}{peak}"
        yield _Dated(episode.ended_ns, 0, "explosion", text)
