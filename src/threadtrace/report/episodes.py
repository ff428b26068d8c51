"""What a recording tells of explosions: one record an episode, its last state and its peaks."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from threadtrace.report import reading
from threadtrace.report.fields import Fields, count, inner, number, objects, text, time_ns
from threadtrace.report.reading import Event
from threadtrace.report.workloads import ProcessSeen, label_of, process_seen

_Number = TypeVar("_Number", int, float)

_MAX_EPISODES = 1_000
_MAX_STATES = 30


@dataclass
class EpisodeRecord:
    """An explosion from its call to its end. What no event told is None."""

    explosion_id: str
    name: str
    kind: str
    cgroup: str | None
    first_ns: int
    last_ns: int
    started_ns: int | None = None
    ended_ns: int | None = None
    ended_because: str | None = None
    onset_ns: int | None = None
    shape: str | None = None
    reason: str | None = None
    states: list[tuple[int, int, str]] = field(default_factory=list)
    """Sequence number, time and name of each state that began, in the order of the sequence."""
    tasks_at_start: int | None = None
    tasks_peak: int | None = None
    growth_peak: float | None = None
    refused: int | None = None
    share_peak: float | None = None
    nearest_limit: str | None = None
    limit_owner: str | None = None
    limit_value: int | None = None
    limit_usage_peak: int | None = None
    knob: str | None = None
    shortest_seconds_left: float | None = None
    thread_names: tuple[tuple[str, int], ...] = ()
    process: ProcessSeen | None = None
    command_line: str | None = None
    parent_command_line: str | None = None

    @property
    def weight(self) -> tuple[bool, int, int]:
        """By which the worst episode leads: exhausted a limit, refused, grew most."""
        exhausted = any(state == "exhausted" for _, _, state in self.states)
        return exhausted, self.refused or 0, (self.tasks_peak or 0) - (self.tasks_at_start or 0)

    def add(self, event: Event) -> None:
        """Take in an explosion event of this episode."""
        details = event.details
        self.first_ns = min(self.first_ns, event.time_ns)
        is_last = event.time_ns >= self.last_ns
        self.last_ns = max(self.last_ns, event.time_ns)
        if event.name == reading.EXPLOSION_STARTED:
            self.started_ns = event.time_ns
            self.reason = text(details, "reason") or self.reason
        elif event.name == reading.EXPLOSION_ENDED:
            self.ended_ns = event.time_ns
            self.ended_because = text(details, "ended_because")
        self.onset_ns = time_ns(details, "onset") or self.onset_ns
        self.reason = self.reason or text(details, "reason")
        self.shape = text(details, "shape") or self.shape
        self._add_state(event)
        self._add_numbers(details)
        self._add_threads(details)
        if is_last:
            self._add_limit(details)
            self._add_process(event)

    def _add_state(self, event: Event) -> None:
        """Note when it began; events may come in any order."""
        state = text(event.details, "state")
        if state is None:
            return
        new = (event.sequence, event.time_ns, state[:40])
        at = bisect(self.states, new)
        if at and self.states[at - 1][2] == new[2]:
            return
        if at < len(self.states) and self.states[at][2] == new[2]:
            self.states[at] = new
        elif len(self.states) < _MAX_STATES:
            self.states.insert(at, new)

    def _add_numbers(self, details: Fields) -> None:
        at_start = count(details, "tasks_at_start")
        self.tasks_at_start = self.tasks_at_start if at_start is None else at_start
        told = (count(details, "tasks_peak"), count(details, "tasks_count"), self.tasks_peak)
        self.tasks_peak = _highest(told)
        self.growth_peak = _highest((number(details, "growth_per_second"), self.growth_peak))
        self.share_peak = _highest((number(details, "share_of_node_ratio"), self.share_peak))
        self.refused = _highest((count(details, "refused_count"), self.refused))
        left = number(details, "seconds_to_exhaustion")
        if left is not None:
            known = self.shortest_seconds_left
            self.shortest_seconds_left = left if known is None else min(left, known)

    def _add_limit(self, details: Fields) -> None:
        name = text(details, "nearest_limit")
        if name is None:
            return
        owner = text(details, "nearest_limit_owner")
        if (name, owner) != (self.nearest_limit, self.limit_owner):
            self.limit_usage_peak = None
        self.nearest_limit, self.limit_owner = name, owner
        self.limit_value = count(details, "nearest_limit_value")
        usage = count(details, "nearest_limit_usage")
        self.limit_usage_peak = _highest((usage, self.limit_usage_peak))
        self.knob = text(details, "knob") or self.knob

    def _add_process(self, event: Event) -> None:
        """The process that creates most, and who started it; the last that is known."""
        process = inner(event.fields, "process")
        executable = text(inner(process, "executable"), "name")
        if self.process is None and executable is not None:
            self.process = ProcessSeen(count(process, "pid"), executable, None)
        self.command_line = text(process, "command_line") or self.command_line
        parent = text(event.details, "parent_command_line")
        self.parent_command_line = parent or self.parent_command_line

    def _add_threads(self, details: Fields) -> None:
        """The largest process, and names of threads: when there were most."""
        names = tuple(
            (text(name, "name") or "", count(name, "count") or 0)
            for name in objects(details, "thread_names")[:5]
        )
        if sum(number for _, number in names) > sum(number for _, number in self.thread_names):
            self.thread_names = names
        for seen in map(process_seen, objects(details, "top_processes")[:1]):
            if seen is not None and (seen.threads or 0) >= _threads(self.process):
                self.process = seen


class Episodes:
    """By explosion_id. Bounded: further episodes are counted."""

    def __init__(self) -> None:
        self.by_id: dict[str, EpisodeRecord] = {}
        self.unlisted: set[str] = set()

    def add(self, event: Event) -> None:
        """Take in an explosion event; one without an id is an episode of its workload."""
        kind, name = label_of(event.details)
        known_as = text(event.details, "explosion_id") or f"{event.agent_id} {kind} {name}"
        episode = self.by_id.get(known_as)
        if episode is None:
            if len(self.by_id) >= _MAX_EPISODES:
                if len(self.unlisted) < _MAX_EPISODES:
                    self.unlisted.add(known_as)
                return
            cgroup = text(inner(inner(event.fields, "process"), "linux"), "cgroup")
            episode = EpisodeRecord(known_as, name, kind, cgroup, event.time_ns, event.time_ns)
            self.by_id[known_as] = episode
        episode.add(event)


def _highest(values: Iterable[_Number | None]) -> _Number | None:
    """Of those that are known."""
    return max((value for value in values if value is not None), default=None)


def _threads(process: ProcessSeen | None) -> int:
    return 0 if process is None else process.threads or 0
