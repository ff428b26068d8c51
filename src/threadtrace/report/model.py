"""The report as plain data: what the templates and the JSON output are made of.

Names that end in ``_ns`` are nanoseconds since 1970. What is not known is None, and absent in JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from threadtrace.report.workloads import ProcessSeen

REPORT_VERSION = "1.0"


class Outcome(str, Enum):
    """How bad it was."""

    CALM = "calm"
    EXPLODED = "exploded"
    """A workload exploded, and no limit refused."""
    REFUSED = "refused"


@dataclass(frozen=True)
class ThreadName:
    """Threads of one name, digits folded to #."""

    name: str
    count: int


@dataclass(frozen=True)
class Culprit:
    """A workload that exploded, or that held the limit when it refused."""

    name: str
    kind: str
    tasks_count: int | None
    """At its peak."""
    tasks_at_start: int | None
    share_ratio: float | None
    """Of what counts against the limit that refused; without such, of the node's tasks."""
    share_of: str | None
    process: ProcessSeen | None
    thread_names: tuple[ThreadName, ...]
    shape: str | None
    reason: str | None
    growth_per_second: float | None
    """The fastest."""
    command_line: str | None
    parent_command_line: str | None
    exploded: bool
    refused_count: int | None


@dataclass(frozen=True)
class Victim:
    """A workload whose clones one limit refused."""

    name: str
    kind: str
    refused_count: int
    first_ns: int
    last_ns: int
    limit: str
    is_culprit: bool


@dataclass(frozen=True)
class LimitUse:
    """A limit and how near it came to refusing."""

    limit: str
    limit_owner: str | None
    limit_value: int | None
    peak_usage: int | None
    peak_ratio: float | None
    peak_ns: int | None
    refused_count: int
    is_of_node: bool


@dataclass(frozen=True)
class Verdict:
    """Which limit, how that is known, and what it was not."""

    limit: LimitUse
    has_refused: bool
    evidence: str | None
    """In words."""
    scope: str
    """In words: whose limit it is and who is under it."""
    also_reached: tuple[str, ...]
    others: tuple[LimitUse, ...]
    """Other limits that refused."""
    not_reached: tuple[LimitUse, ...]


@dataclass(frozen=True)
class Change:
    """What an operator would do."""

    text: str
    command: str | None


@dataclass(frozen=True)
class Moment:
    """One line of the timeline."""

    time_ns: int
    kind: str
    text: str


@dataclass(frozen=True)
class Layer:
    """The tasks of one workload, or of all others, at each time of a plot."""

    name: str
    tasks: tuple[int | None, ...]
    is_culprit: bool = False
    is_rest: bool = False
    """All workloads together that have no layer of their own."""


@dataclass(frozen=True)
class Mark:
    """A limit as a line across a plot."""

    label: str
    value: int


@dataclass(frozen=True)
class Instant:
    """Something that happened, as a line down a plot."""

    label: str
    time_ns: int


@dataclass(frozen=True)
class TaskPlot:
    """Tasks by workload, the lowest layer first."""

    title: str
    times_ns: tuple[int, ...]
    layers: tuple[Layer, ...]
    limits: tuple[Mark, ...]
    """Those that are within sight."""
    limits_out_of_sight: tuple[Mark, ...]
    instants: tuple[Instant, ...]


@dataclass(frozen=True)
class RefusalPlot:
    """Refused clones of the whole node a second."""

    times_ns: tuple[int, ...]
    refused_per_second: tuple[float | None, ...]


@dataclass(frozen=True)
class OtherNode:
    """A node of the same file that this report is not about."""

    name: str
    outcome: Outcome
    refused_count: int


@dataclass(frozen=True)
class About:
    """The recording itself."""

    source: str
    start_ns: int
    end_ns: int
    events_count: int
    runs_count: int
    agent_versions: tuple[str, ...]
    kernel_release: str | None
    workloads_count: int
    remarks: tuple[str, ...]
    """What is wrong with it or missing in it, a sentence each."""
    other_nodes: tuple[OtherNode, ...]


@dataclass(frozen=True)
class Report:
    """Everything."""

    report_version: str
    node: str
    outcome: Outcome
    headline: str
    summary: tuple[str, ...]
    """What happened, in three sentences."""
    start_ns: int | None
    """Of the incident: the first explosion or refusal."""
    end_ns: int | None
    refused_count: int | None
    """None where refused clones were not counted."""
    tasks_peak: int | None
    verdict: Verdict | None
    culprits: tuple[Culprit, ...]
    victims: tuple[Victim, ...]
    victims_count: int
    changes: tuple[Change, ...]
    timeline: tuple[Moment, ...]
    timeline_left_out_count: int
    task_plot: TaskPlot | None
    refusal_plot: RefusalPlot | None
    about: About
