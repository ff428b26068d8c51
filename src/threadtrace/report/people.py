"""Who did it and who suffered: culprits and victims."""

from __future__ import annotations

from collections.abc import Sequence

from threadtrace.report.collecting import NodeRecord
from threadtrace.report.episodes import EpisodeRecord
from threadtrace.report.limits import CauseRecord, Holder
from threadtrace.report.model import Culprit, ThreadName, Victim
from threadtrace.report.verdicts import SMALL_SHARE_RATIO, has_caused
from threadtrace.report.words import limit_words
from threadtrace.report.workloads import ProcessSeen, WorkloadRecord

_MAX_CULPRITS = 5
_MAX_VICTIMS = 20


def culprits_of(
    node: NodeRecord, causes: Sequence[CauseRecord], episodes: Sequence[EpisodeRecord]
) -> tuple[Culprit, ...]:
    """Whose explosion used up the limit, who held most of it, and who exploded besides."""
    lead = causes[0] if causes else None
    holders = _holders(lead)
    of_name: dict[str, EpisodeRecord] = {}
    for episode in episodes:
        of_name.setdefault(episode.name, episode)
    guilty = [name for name, one in of_name.items() if lead is None or has_caused(one, lead)]
    names = [*guilty, *holders, *of_name]
    return tuple(
        _culprit(node, lead, of_name.get(name), holders.get(name))
        for name in list(dict.fromkeys(names))[:_MAX_CULPRITS]
    )


def victims_of(causes: Sequence[CauseRecord], culprits: Sequence[Culprit]) -> tuple[Victim, ...]:
    """By limit, in the order of the causes; of each the innocent first, then the most refused."""
    names = {culprit.name for culprit in culprits}
    victims = []
    for cause in causes:
        limit = limit_words(cause.limit, cause.owner, cause.value)
        of_cause = [
            Victim(
                name=victim.name,
                kind=victim.kind,
                refused_count=victim.refused,
                first_ns=victim.first_ns,
                last_ns=victim.last_ns,
                limit=limit,
                is_culprit=victim.name in names,
            )
            for victim in cause.victims.values()
        ]
        of_cause.sort(key=lambda victim: (victim.is_culprit, -victim.refused_count))
        victims += of_cause[:_MAX_VICTIMS]
    return tuple(victims[:_MAX_VICTIMS])


def count_victims(causes: Sequence[CauseRecord]) -> int:
    """How many workloads were refused, by whatever limit."""
    return len({key for cause in causes for key in cause.victims})


def _holders(lead: CauseRecord | None) -> dict[str, Holder]:
    """Who held much of the limit that refused, the largest first."""
    if lead is None:
        return {}
    ranked = sorted(lead.holders.values(), key=lambda holder: holder.tasks, reverse=True)
    return {
        holder.name: holder
        for holder in ranked
        if holder.share is None or holder.share >= SMALL_SHARE_RATIO
    }


def _culprit(
    node: NodeRecord,
    lead: CauseRecord | None,
    episode: EpisodeRecord | None,
    holder: Holder | None,
) -> Culprit:
    name, kind = _named(episode, holder)
    record = node.workloads.named(name)
    tasks = (
        episode.tasks_peak if episode else None,
        holder.tasks if holder else None,
        record.peak_tasks if record else None,
    )
    share, share_of = _share(lead, episode, holder)
    return Culprit(
        name=name,
        kind=kind,
        tasks_count=max((count for count in tasks if count is not None), default=None),
        tasks_at_start=episode.tasks_at_start if episode else None,
        share_ratio=share,
        share_of=share_of,
        process=_largest(episode, holder, record),
        thread_names=tuple(ThreadName(*one) for one in episode.thread_names) if episode else (),
        shape=episode.shape if episode else None,
        reason=episode.reason if episode else None,
        growth_per_second=_growth(episode, record),
        command_line=episode.command_line if episode else None,
        parent_command_line=episode.parent_command_line if episode else None,
        exploded=episode is not None,
        refused_count=_refused(lead, kind, name, episode),
    )


def _named(episode: EpisodeRecord | None, holder: Holder | None) -> tuple[str, str]:
    source = episode or holder
    assert source is not None, "one of them made it a culprit"
    return source.name, source.kind


def _share(
    lead: CauseRecord | None, episode: EpisodeRecord | None, holder: Holder | None
) -> tuple[float | None, str | None]:
    if lead is not None and holder is not None and holder.share is not None:
        return holder.share, limit_words(lead.limit, lead.owner, lead.value)
    if episode is not None and episode.share_peak is not None:
        return episode.share_peak, "the node's tasks"
    return None, None


def _largest(
    episode: EpisodeRecord | None, holder: Holder | None, record: WorkloadRecord | None
) -> ProcessSeen | None:
    """The process with the most threads that any event told."""
    sources = (
        episode.process if episode else None,
        holder.process if holder else None,
        record.largest if record else None,
    )
    seen = [process for process in sources if process is not None]
    return max(seen, key=lambda process: process.threads or 0, default=None)


def _growth(episode: EpisodeRecord | None, record: WorkloadRecord | None) -> float | None:
    if episode is not None and episode.growth_peak is not None:
        return episode.growth_peak
    return record.fastest_growth or None if record is not None else None


def _refused(
    lead: CauseRecord | None, kind: str, name: str, episode: EpisodeRecord | None
) -> int | None:
    victim = lead.victims.get((kind, name)) if lead is not None else None
    if victim is not None:
        return victim.refused
    return episode.refused if episode is not None else None
