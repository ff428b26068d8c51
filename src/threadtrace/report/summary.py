"""What happened, as a headline and three sentences."""

from __future__ import annotations

from collections.abc import Sequence

from threadtrace.report.collecting import NodeRecord
from threadtrace.report.episodes import EpisodeRecord
from threadtrace.report.limits import CauseRecord
from threadtrace.report.model import Culprit, LimitUse, Outcome, Verdict
from threadtrace.report.timeline import ending_words
from threadtrace.report.words import (
    day_and_time,
    duration,
    joined,
    limit_words,
    percent,
    plural,
    rate,
    short_name,
    short_time,
)

# As in the answer of why: what is so near the end may still go on.
_STILL_NS = 15_000_000_000

_HEADLINE_WIDTH = 44


class Story:
    """Tells one node's recording in sentences. All names in them are printable."""

    def __init__(
        self,
        node: NodeRecord,
        causes: Sequence[CauseRecord],
        episodes: Sequence[EpisodeRecord],
        culprits: Sequence[Culprit],
        verdict: Verdict | None,
        guilty_count: int,
    ) -> None:
        """Of the episodes, the first ``guilty_count`` used up the limit that refused."""
        self._node = node
        self._causes = causes
        self._episodes = episodes
        self._culprits = culprits
        self._guilty = episodes[:guilty_count]
        self._verdict = verdict
        self._within = node.first_ns, node.last_ns

    def headline(self, outcome: Outcome) -> str:
        """One line: who, what, where."""
        where = short_name(self._node.name)
        if outcome is Outcome.CALM:
            return f"Nothing happened on {where}"
        who = short_name(self._culprits[0].name, _HEADLINE_WIDTH) if self._culprits else ""
        if outcome is Outcome.EXPLODED:
            return f"{who} exploded in threads on {where}; no clone was refused"
        if not self._causes:
            return f"Clones were refused on {where}; by which limit was not recorded"
        lead = self._causes[0]
        limit = limit_words(lead.limit, lead.owner, lead.value, _HEADLINE_WIDTH)
        if lead.limit in ("other", "memory", "namespace"):
            return f"{plural(lead.refused, 'clone')} refused on {where}: {limit}"
        if not self._culprits:
            return f"{limit} refused clones on {where}"
        return f"{who} exhausted {limit} on {where}"

    def sentences(self, outcome: Outcome) -> tuple[str, ...]:
        """Three: what began, what it did, whose limit it was and how it ended."""
        if outcome is Outcome.CALM:
            return self._calm()
        return self._beginning(), self._effect(), self._end()

    def _calm(self) -> tuple[str, ...]:
        node = self._node
        refused = (
            "no clone was refused"
            if node.counts_refusals
            else "whether clones were refused was not counted"
        )
        first = (
            f"From {day_and_time(node.first_ns)} to {day_and_time(node.last_ns)} UTC "
            f"({duration(node.last_ns - node.first_ns)}) no workload exploded on "
            f"{short_name(node.name)}, and {refused}."
        )
        return tuple(filter(None, (first, self._peaks(), self._nearest())))

    def _peaks(self) -> str:
        node = self._node
        if node.peak_tasks is None:
            return ""
        text = f"There were {node.peak_tasks:,} tasks at most, at {self._at(node.peak_tasks_ns)}"
        records = node.workloads.by_key.values()
        largest = max(records, key=lambda one: one.peak_tasks, default=None)
        if largest is not None and largest.peak_tasks:
            held = plural(largest.peak_tasks, "task")
            text += f"; the largest workload, {short_name(largest.name)}, held up to {held}"
        return text + "."

    def _nearest(self) -> str:
        if self._verdict is None:
            return "How near the limits were was not recorded."
        use = self._verdict.limit
        return f"The nearest limit was {_limit_of(use)}, {_used(use)}."

    def _beginning(self) -> str:
        if self._guilty:
            return self._growth(self._guilty[0])
        if not self._causes:
            total = plural(self._node.refused_in_ticks, "clone")
            at = day_and_time(self._node.peak_refused_ns)
            return f"{total} were refused on {short_name(self._node.name)}, most at {at} UTC."
        lead = self._causes[0]
        text = (
            f"At {day_and_time(lead.first_ns)} UTC {_limit_of_cause(lead)} began to refuse clones "
            f"on {short_name(self._node.name)}"
        )
        if self._culprits:
            text += f"; {_holding(self._culprits[0])}"
        return text + self._more_explosions(len(self._episodes)) + "."

    def _growth(self, episode: EpisodeRecord) -> str:
        began = episode.onset_ns or episode.started_ns or episode.first_ns
        text = f"At {day_and_time(began)} UTC {short_name(episode.name)} began to grow"
        if episode.growth_peak and episode.growth_peak > 0:
            text += f" by up to {rate(episode.growth_peak)}"
        if episode.tasks_at_start is not None and episode.tasks_peak is not None:
            text += f", from {episode.tasks_at_start:,} to {plural(episode.tasks_peak, 'task')}"
        culprit = self._culprits[0]
        if culprit.thread_names:
            names = [short_name(thread.name, 32) for thread in culprit.thread_names[:2]]
            text += f", mostly threads called {joined(names)}"
        if culprit.process is not None and culprit.process.name is not None:
            text += f" in {_process(culprit)}"
        return text + self._more_explosions(len(self._episodes) - 1) + "."

    def _more_explosions(self, count: int) -> str:
        return f"; see the timeline for {plural(count, 'other explosion')}" if count else ""

    def _effect(self) -> str:
        if not self._causes:
            if self._node.refused_in_ticks:
                return "Of whom, and by which limit, this recording does not tell."
            refused = (
                "No clone was refused"
                if self._node.counts_refusals
                else "Whether clones were refused was not counted"
            )
            use = self._verdict.limit if self._verdict is not None else None
            near = f"; the nearest limit was {_limit_of(use)}, {_used(use)}" if use else ""
            return f"{refused}{near}{self._time_left()}."
        lead = self._causes[0]
        total = plural(lead.refused, "clone")
        text = f"From {self._at(lead.first_ns)} to {self._at(lead.last_ns)} it refused {total} of "
        if self._guilty:
            text = (
                f"From {self._at(lead.first_ns)} to {self._at(lead.last_ns)} "
                f"{_limit_of_cause(lead)} refused {total} of "
            )
        return text + self._who_suffered(lead) + "."

    def _time_left(self) -> str:
        left = [one.shortest_seconds_left for one in self._episodes]
        known = [seconds for seconds in left if seconds is not None]
        if not known:
            return ""
        shortest = duration(round(min(known) * 1_000_000_000))
        return f", and at the fastest growth would have lasted {shortest} more"

    def _who_suffered(self, lead: CauseRecord) -> str:
        names = {culprit.name for culprit in self._culprits}
        innocent = [victim for victim in lead.victims.values() if victim.name not in names]
        guilty = [victim for victim in lead.victims.values() if victim.name in names]
        if not innocent:
            return "the culprit alone" if guilty else "workloads that are not known"
        innocent.sort(key=lambda victim: victim.refused, reverse=True)
        listed = [f"{short_name(one.name)} ({one.refused:,})" for one in innocent[:2]]
        if len(innocent) > 2:
            listed.append(plural(len(innocent) - 2, "more workload"))
        if guilty:
            refused = sum(victim.refused for victim in guilty)
            listed.append(f"the culprit itself ({refused:,})")
        return joined(listed)

    def _end(self) -> str:
        scope = ""
        if self._verdict is not None and self._verdict.has_refused:
            scope = self._verdict.scope.rstrip(".")
        ending = self._how_it_ended()
        return f"{scope}; {ending}." if scope else f"{ending[:1].upper()}{ending[1:]}."

    def _how_it_ended(self) -> str:
        last_refusal = max((cause.last_ns for cause in self._causes), default=None)
        open_ones = [one for one in self._episodes if one.ended_ns is None]
        if open_ones:
            return f"when the recording ended, {short_name(open_ones[0].name)} was still exploding"
        last_end = max((one.last_ns for one in self._guilty), default=0)
        if last_refusal is not None and last_refusal > max(
            last_end, self._node.last_ns - _STILL_NS
        ):
            before = duration(self._node.last_ns - last_refusal)
            return f"the last refusal came {before} before the recording ended"
        if self._guilty:
            lead = self._guilty[0]
            at = self._at(lead.ended_ns or lead.last_ns)
            return f"the explosion ended at {at}: {ending_words(lead.ended_because)}"
        if last_refusal is not None:
            return f"nothing was refused after {self._at(last_refusal)}"
        return "nothing tells how it ended"

    def _at(self, time_ns: int) -> str:
        return short_time(time_ns, self._within)


def _process(culprit: Culprit) -> str:
    process = culprit.process
    assert process is not None
    pid = f"[{process.pid}]" if process.pid is not None else ""
    return f"{short_name(process.name or 'a process', 32)}{pid}"


def _holding(culprit: Culprit) -> str:
    text = f"{short_name(culprit.name)} held"
    text += "" if culprit.tasks_count is None else f" {plural(culprit.tasks_count, 'task')}"
    if culprit.share_ratio is not None:
        text += f" ({percent(culprit.share_ratio)} of it)"
    if culprit.process is not None and culprit.process.name is not None:
        text += f", most of them in {_process(culprit)}"
    return text


def _limit_of(use: LimitUse) -> str:
    return limit_words(use.limit, use.limit_owner, use.limit_value)


def _limit_of_cause(cause: CauseRecord) -> str:
    return limit_words(cause.limit, cause.owner, cause.value)


def _used(use: LimitUse) -> str:
    if use.peak_ratio is None:
        return "used to an extent that was not recorded"
    return f"used by {percent(use.peak_ratio)} at most"
