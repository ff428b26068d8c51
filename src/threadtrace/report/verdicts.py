"""Which limit it was, how that is known, whose it is, and which it was not."""

from __future__ import annotations

from collections.abc import Sequence

from threadtrace.report.collecting import NodeRecord
from threadtrace.report.episodes import EpisodeRecord
from threadtrace.report.limits import CauseRecord, LimitRecord, is_of_node
from threadtrace.report.model import LimitUse, Verdict
from threadtrace.report.words import plural, short_name

_REAL_LIMITS = ("pids_max", "pid_max", "threads_max", "rlimit_nproc")
_WORTH_TELLING_RATIO = 0.5
_MAX_OTHERS = 5

# Who holds less of a limit did not use it up.
SMALL_SHARE_RATIO = 0.05

_EVIDENCE = {
    "kernel_stage": "the refusing function was seen in the kernel",
    "inferred": "inferred from what the kernel compares, read when the system call returned",
}


def ranked_causes(node: NodeRecord) -> list[CauseRecord]:
    """The one that matters most first: limits before bans and mistakes, then those that hit others.

    A workload that is refused by its own limit harms nobody else.
    """
    return sorted(
        node.causes.by_key.values(),
        key=lambda cause: (cause.limit in _REAL_LIMITS, not cause.is_own_limit, cause.refused),
        reverse=True,
    )


def ranked_episodes(node: NodeRecord, lead: CauseRecord | None) -> list[EpisodeRecord]:
    """Those that used up the limit that leads, then the others; of each the worst first."""
    return sorted(
        node.episodes.by_id.values(),
        key=lambda one: (lead is not None and has_caused(one, lead), one.weight),
        reverse=True,
    )


def has_caused(episode: EpisodeRecord, cause: CauseRecord) -> bool:
    """Whether that explosion used up that limit: other things may explode at the same time."""
    holder = cause.holders.get(episode.name)
    if holder is not None and (holder.share is None or holder.share >= SMALL_SHARE_RATIO):
        return True
    return (episode.nearest_limit, episode.limit_owner) == (cause.limit, cause.owner)


def verdict_of(
    node: NodeRecord, causes: Sequence[CauseRecord], episodes: Sequence[EpisodeRecord]
) -> Verdict | None:
    """None where nothing tells of any limit."""
    if causes:
        lead = causes[0]
        return Verdict(
            limit=_use_of_cause(node, lead),
            has_refused=True,
            evidence=_evidence(lead),
            scope=scope_words(lead),
            also_reached=tuple(sorted(lead.also_reached)),
            others=tuple(_use_of_cause(node, cause) for cause in causes[1 : 1 + _MAX_OTHERS]),
            not_reached=_not_reached(node, causes),
        )
    lead_use = _use_of_episode(episodes[0]) if episodes else _nearest(node)
    if lead_use is None:
        return None
    return Verdict(
        limit=lead_use,
        has_refused=False,
        evidence=None,
        scope="",
        also_reached=(),
        others=(),
        not_reached=tuple(
            use
            for use in _not_reached(node, ())
            if (use.limit, use.limit_owner) != (lead_use.limit, lead_use.limit_owner)
        ),
    )


def scope_words(cause: CauseRecord) -> str:
    """Whose limit it is, and who is under it: one sentence."""
    owner = short_name(cause.owner or "an owner that is not known")
    refused = plural(len(cause.victims), "workload")
    if cause.is_of_node:
        return f"It is the node's own limit: everybody on it is under it; {refused} were refused."
    if cause.limit == "pids_max" and cause.is_own_limit:
        return "It is the refused workload's own limit, not the node's: nobody else is under it."
    if cause.limit == "pids_max":
        return f"It is the limit of the cgroup {owner} and all below it, not the node's."
    if cause.limit == "rlimit_nproc":
        return f"It is the limit of {owner} over all containers with this uid, not the node's."
    if cause.limit == "pid_max":
        return f"It is the limit of the {owner}, not the node's."
    if cause.limit == "other":
        errors = ", ".join(sorted(cause.errors))
        return f"It was none of the limits: the kernel answered {errors}."
    return "It is none of the limits on the number of tasks."


def _evidence(cause: CauseRecord) -> str:
    return "; ".join(_EVIDENCE.get(name, name) for name, _ in cause.evidence.most_common())


def _use_of_cause(node: NodeRecord, cause: CauseRecord) -> LimitUse:
    """With the highest use that either a refusal or a sample told."""
    seen = node.limits.by_key.get((cause.limit, cause.owner))
    usage, value = cause.usage, cause.value
    if seen is not None:
        usage = max(seen.peak_usage, usage or 0)
    return LimitUse(
        limit=cause.limit,
        limit_owner=cause.owner,
        limit_value=value,
        peak_usage=usage,
        peak_ratio=usage / value if value and usage is not None else None,
        peak_ns=cause.first_ns,
        refused_count=cause.refused,
        is_of_node=cause.is_of_node,
    )


def _use_of_episode(episode: EpisodeRecord) -> LimitUse | None:
    if episode.nearest_limit is None:
        return None
    value, usage = episode.limit_value, episode.limit_usage_peak
    return LimitUse(
        limit=episode.nearest_limit,
        limit_owner=episode.limit_owner,
        limit_value=value,
        peak_usage=usage,
        peak_ratio=usage / value if value and usage is not None else None,
        peak_ns=None,
        refused_count=0,
        is_of_node=is_of_node(episode.nearest_limit, episode.limit_owner),
    )


def _nearest(node: NodeRecord) -> LimitUse | None:
    nearest = max(node.limits.by_key.values(), key=lambda one: one.peak_ratio, default=None)
    return None if nearest is None else _use_of_limit(nearest)


def _use_of_limit(record: LimitRecord) -> LimitUse:
    return LimitUse(
        limit=record.name,
        limit_owner=record.owner,
        limit_value=record.value,
        peak_usage=record.peak_usage,
        peak_ratio=record.peak_ratio,
        peak_ns=record.peak_ns,
        refused_count=0,
        is_of_node=record.is_of_node,
    )


def _not_reached(node: NodeRecord, causes: Sequence[CauseRecord]) -> tuple[LimitUse, ...]:
    """The node's limits always, others from half of their value on; the most used first."""
    refused = {(cause.limit, cause.owner) for cause in causes}
    free = [record for key, record in node.limits.by_key.items() if key not in refused]
    free.sort(key=lambda record: record.peak_ratio, reverse=True)
    of_node = [record for record in free if record.is_of_node]
    others = [
        record
        for record in free
        if not record.is_of_node and record.peak_ratio >= _WORTH_TELLING_RATIO
    ]
    return tuple(map(_use_of_limit, of_node + others[:_MAX_OTHERS]))
