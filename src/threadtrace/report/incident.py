"""A recording that was read to its end, turned into a report. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from threadtrace.report.charts import growth_start, refusal_plot, stretch_of, task_plot
from threadtrace.report.collecting import NodeRecord, Recording
from threadtrace.report.episodes import EpisodeRecord
from threadtrace.report.limits import CauseRecord
from threadtrace.report.model import (
    REPORT_VERSION,
    Change,
    Culprit,
    Instant,
    Outcome,
    Report,
)
from threadtrace.report.people import count_victims, culprits_of, victims_of
from threadtrace.report.remarks import about
from threadtrace.report.summary import Story
from threadtrace.report.timeline import timeline_of
from threadtrace.report.verdicts import has_caused, ranked_causes, ranked_episodes, verdict_of
from threadtrace.report.words import plural, short_name

_MAX_KNOBS = 3

# What may be pasted into a shell. A name of a cgroup within it may be anything else.
_COMMAND = re.compile(
    r"\b(?:sysctl|systemctl|docker|podman|nsenter) (?:[A-Za-z0-9@._=:/-]+(?: |(?=[,;]|\Z)))+"
)


def outcome_of(node: NodeRecord) -> Outcome:
    """How bad it was on this node."""
    if node.causes.by_key or node.refused_in_ticks:
        return Outcome.REFUSED
    return Outcome.EXPLODED if node.episodes.by_id else Outcome.CALM


def refused_on(node: NodeRecord) -> int | None:
    """Refused clones; None where they were not counted."""
    told = sum(cause.refused for cause in node.causes.by_key.values()) + node.causes.unlisted
    if not told and not node.counts_refusals:
        return None
    return max(told, node.refused_in_ticks)


def worst_node(recording: Recording) -> NodeRecord:
    """The one that the report is about, unless another is asked for."""
    order = list(Outcome)
    return max(
        recording.nodes.values(),
        key=lambda node: (order.index(outcome_of(node)), refused_on(node) or 0, node.events),
    )


def report_of(recording: Recording, node: NodeRecord, source: str) -> Report:
    """All that is to be said of one node.

    Args:
        recording: read to its end.
        node: one of the recording's.
        source: what the file is called.
    """
    causes = ranked_causes(node)
    episodes = ranked_episodes(node, causes[0] if causes else None)
    guilty = [one for one in episodes if not causes or has_caused(one, causes[0])]
    runs = sorted(
        (run for run in recording.runs.values() if run.node == node.name),
        key=lambda run: run.first_ns,
    )
    outcome = outcome_of(node)
    verdict = verdict_of(node, causes, episodes)
    culprits = culprits_of(node, causes, episodes)
    victims = victims_of(causes, culprits)
    incident = _incident(node, causes, episodes)
    story = Story(node, causes, episodes, culprits, verdict, len(guilty))
    timeline, left_out = timeline_of(node, runs, causes, culprits)
    stretch = stretch_of(node, _with_growth(node, incident, guilty, culprits))
    return Report(
        report_version=REPORT_VERSION,
        node=node.name,
        outcome=outcome,
        headline=story.headline(outcome),
        summary=story.sentences(outcome),
        start_ns=incident[0] if incident else None,
        end_ns=incident[1] if incident else None,
        refused_count=refused_on(node),
        tasks_peak=node.peak_tasks,
        verdict=verdict,
        culprits=culprits,
        victims=victims,
        victims_count=count_victims(causes),
        changes=tuple(_changes(causes, episodes, culprits)),
        timeline=timeline,
        timeline_left_out_count=left_out,
        task_plot=task_plot(node, stretch, verdict, culprits, _instants(causes, guilty)),
        refusal_plot=refusal_plot(stretch),
        about=about(recording, node, runs, source, outcome_of, refused_on),
    )


def _incident(
    node: NodeRecord, causes: Sequence[CauseRecord], episodes: Sequence[EpisodeRecord]
) -> tuple[int, int] | None:
    """From the first explosion or refusal to the last that was told of either."""
    starts = [cause.first_ns for cause in causes]
    starts += [episode.started_ns or episode.first_ns for episode in episodes]
    ends = [cause.last_ns for cause in causes] + [episode.last_ns for episode in episodes]
    if not starts and node.refused_in_ticks:
        return node.peak_refused_ns, node.trouble_ns or node.peak_refused_ns
    return (min(starts), max(ends)) if starts else None


def _with_growth(
    node: NodeRecord,
    incident: tuple[int, int] | None,
    episodes: Sequence[EpisodeRecord],
    culprits: Sequence[Culprit],
) -> tuple[int, int] | None:
    """From when it began to grow, which is before it was called an explosion."""
    if incident is None:
        return None
    onsets = [episode.onset_ns for episode in episodes if episode.onset_ns is not None]
    record = node.workloads.named(culprits[0].name) if culprits else None
    if not onsets and record is not None:
        onsets = list(filter(None, [growth_start(node, record.key, incident[0])]))
    return min([incident[0], *onsets]), incident[1]


def _instants(
    causes: Sequence[CauseRecord], episodes: Sequence[EpisodeRecord]
) -> tuple[Instant, ...]:
    """What the plots mark: of the worst episode and of the limit that matters."""
    marks = []
    if episodes:
        lead = episodes[0]
        marks.append(Instant("explosion called", lead.started_ns or lead.first_ns))
    if causes:
        marks.append(Instant("first refusal", causes[0].first_ns))
        if causes[0].last_ns > causes[0].first_ns:
            marks.append(Instant("last refusal", causes[0].last_ns))
    if episodes and episodes[0].ended_ns is not None:
        marks.append(Instant("explosion over", episodes[0].ended_ns))
    return tuple(marks)


def _changes(
    causes: Sequence[CauseRecord],
    episodes: Sequence[EpisodeRecord],
    culprits: Sequence[Culprit],
) -> Iterator[Change]:
    """The source first: a higher limit only lasts a little longer."""
    for culprit in culprits:
        if culprit.exploded or culprit is culprits[0]:
            yield Change(_source_words(culprit), None)
    knobs = [cause.knob for cause in causes] + [episode.knob for episode in episodes]
    for knob in list(dict.fromkeys(filter(None, knobs)))[:_MAX_KNOBS]:
        yield _change_of_knob(knob)
    if causes and causes[0].is_of_node and culprits:
        name = short_name(culprits[0].name)
        yield Change(
            f"Give {name} a limit of its own (podPidsLimit of the kubelet, --pids-limit, "
            "TasksMax=), so that it cannot use up the node's",
            None,
        )


def _change_of_knob(knob: str) -> Change:
    """The command is told by itself, to be copied, and not in the sentence too."""
    found = _COMMAND.search(knob)
    if found is None:
        return Change(f"Change {short_name(knob, 400)}", None)
    before, after = knob[: found.start()].rstrip(" :"), knob[found.end() :].rstrip()
    what = f"Change {short_name(before, 400)}" if before else "Raise the limit"
    return Change(f"{what}{short_name(after, 400)}", found.group(0).strip())


def _source_words(culprit: Culprit) -> str:
    """Where to look for the growth."""
    text = f"Stop the growth in {short_name(culprit.name)}"
    process = culprit.process
    if process is not None and process.name is not None:
        pid = "" if process.pid is None else f" (PID {process.pid})"
        text += f": {short_name(process.name, 48)}{pid}"
        if process.threads is not None and process.threads > 1:
            text += f" had {plural(process.threads, 'thread')}"
    if culprit.thread_names:
        names = ", ".join(
            f"{short_name(thread.name, 40)} ({thread.count:,})"
            for thread in culprit.thread_names[:3]
        )
        text += f"; they are called {names}"
    return text
