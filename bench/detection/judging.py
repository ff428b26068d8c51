"""What became of each workload: was it called, how soon, and how long before the first refusal."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench.detection.polling import Sample, alarms, mean_lead, most_used
from bench.detection.running import Run
from bench.detection.watching import Event, is_call, moment_of
from bench.detection.workload import Workload

_CLOCK_SLACK_SECONDS = 0.05


class NotAsIntended(RuntimeError):
    """A workload did not do what its name says: its figure would mean nothing."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One workload's row. Seconds; None where it did not happen or is not known."""

    workload: Workload
    seconds: float
    tasks_peak: int
    is_called: bool
    calls_before_onset: int
    """Calls of a malign workload before it began to leak: false alarms."""
    shape: str | None
    delay: float | None
    """From onset to call."""
    refused_after: float | None
    """From onset to the first refused clone."""
    lead: float | None
    """From call to the first refusal, 0 where it was called later or never; None unrefused."""
    poll_lead: float | None
    poll_alarms: int
    """Phases of ten in which the poll saw its threshold reached, before the first refusal."""
    poll_most_used: float | None
    episodes: int
    births: int


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts and leads of a set."""

    malign: int
    called: int
    benign: int
    false_alarms: int
    """Benign workloads that were called, and malign ones before their onset."""
    poll_called: float
    """Malign workloads for which the poll fired before the first refusal, mean over its phases."""
    poll_false_alarms: int
    refused: int
    median_lead: float
    median_poll_lead: float
    lead_sum: float
    poll_lead_sum: float
    median_delay: float | None

    @property
    def median_ratio(self) -> float | None:
        return self.median_lead / self.median_poll_lead if self.median_poll_lead else None

    @property
    def lead_ratio(self) -> float | None:
        return self.lead_sum / self.poll_lead_sum if self.poll_lead_sum else None


def judge(run: Run, events: Sequence[Event], samples: Sequence[Sample]) -> Outcome:
    """Raises NotAsIntended."""
    calls = [event for event in events if is_call(event)]
    in_time = [call for call in calls if moment_of(call) >= run.onset - _CLOCK_SLACK_SECONDS]
    first = in_time[0] if in_time else None
    refused = _first_refusal(run, events)
    called = None if first is None else moment_of(first)
    outcome = Outcome(
        workload=run.workload,
        seconds=run.end - run.start,
        tasks_peak=_peak(run, samples),
        is_called=first is not None,
        calls_before_onset=len(calls) - len(in_time),
        shape=None if first is None else first["threadtrace"].get("shape"),
        delay=None if called is None else max(0.0, called - run.onset),
        refused_after=None if refused is None else refused - run.onset,
        lead=_lead(called, refused),
        poll_lead=None if refused is None else mean_lead(samples, refused),
        poll_alarms=_alarms_in_time(samples, refused),
        poll_most_used=most_used(samples),
        episodes=len(calls),
        births=_births(events),
    )
    _check(run, outcome)
    return outcome


def summarize(outcomes: Sequence[Outcome]) -> Summary:
    malign = [outcome for outcome in outcomes if outcome.workload.label == "malign"]
    benign = [outcome for outcome in outcomes if outcome.workload.label == "benign"]
    leads = [outcome.lead for outcome in malign if outcome.lead is not None]
    poll_leads = [outcome.poll_lead for outcome in malign if outcome.poll_lead is not None]
    delays = [outcome.delay for outcome in malign if outcome.delay is not None]
    return Summary(
        malign=len(malign),
        called=sum(outcome.is_called for outcome in malign),
        benign=len(benign),
        false_alarms=sum(outcome.is_called for outcome in benign)
        + sum(outcome.calls_before_onset > 0 for outcome in malign),
        poll_called=sum(outcome.poll_alarms for outcome in malign) / 10,
        poll_false_alarms=sum(outcome.poll_alarms > 0 for outcome in benign),
        refused=len(leads),
        median_lead=statistics.median(leads or [0.0]),
        median_poll_lead=statistics.median(poll_leads or [0.0]),
        lead_sum=sum(leads),
        poll_lead_sum=sum(poll_leads),
        median_delay=statistics.median(delays) if delays else None,
    )


def _first_refusal(run: Run, events: Sequence[Event]) -> float | None:
    """Refusals before the onset, and those of the clean-up, are none of the workload's."""
    moments = [
        moment_of(event)
        for event in events
        if event["event"]["name"] == "threadtrace.fork.refused"
        and event["threadtrace"].get("errno") == "EAGAIN"
    ]
    return min((when for when in moments if run.onset <= when <= run.ended), default=None)


def _lead(called: float | None, refused: float | None) -> float | None:
    if refused is None:
        return None
    return 0.0 if called is None else max(0.0, refused - called)


def _alarms_in_time(samples: Sequence[Sample], refused: float | None) -> int:
    seen = [alarm for alarm in alarms(samples) if alarm is not None]
    return sum(refused is None or alarm < refused for alarm in seen)


def _peak(run: Run, samples: Sequence[Sample]) -> int:
    return run.peak or max((sample.tasks for sample in samples), default=0)


def _births(events: Sequence[Event]) -> int:
    rates = [
        event["threadtrace"]
        for event in events
        if event["event"]["name"] == "threadtrace.workload.rates"
    ]
    kinds = ("threads_created_count", "processes_created_count")
    return sum(rate.get(kind, 0) for rate in rates for kind in kinds)


def _check(run: Run, outcome: Outcome) -> None:
    workload, problems = run.workload, []
    if outcome.tasks_peak < workload.least_peak:
        problems.append(f"had {outcome.tasks_peak} tasks, not {workload.least_peak}")
    if outcome.births < workload.least_births:
        problems.append(f"made {outcome.births} tasks, not {workload.least_births}")
    if workload.is_refused and outcome.refused_after is None:
        problems.append("was not refused")
    if workload.label == "benign" and run.exit_code != 0:
        problems.append(f"ended with {run.exit_code}")
    if problems:
        said = run.printed.strip()[-600:]
        raise NotAsIntended(f"{workload.name} {', '.join(problems)}; it said: {said}")
