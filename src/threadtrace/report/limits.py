"""What a recording tells of limits: how much of each was used, and what each refused."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from threadtrace.report.fields import Fields, count, inner, number, objects, text, texts
from threadtrace.report.reading import Event
from threadtrace.report.workloads import ProcessSeen, label_of, process_seen

PID_MAX, THREADS_MAX, PIDS_MAX = "pid_max", "threads_max", "pids_max"
NODES_PID_NAMESPACE, NODE_OWNER = "PID namespace level 0", "node"

_MAX_LIMITS = 20_000
_MAX_CAUSES = 1_000
_MAX_VICTIMS = 5_000
_MAX_HOLDERS = 200


@dataclass
class LimitRecord:
    """How much of a limit was used."""

    name: str
    owner: str | None
    value: int
    """The last that was told."""
    peak_usage: int = 0
    peak_ratio: float = 0
    peak_ns: int = 0
    last_ns: int = 0

    @property
    def is_of_node(self) -> bool:
        """Everybody on the node is under it."""
        return is_of_node(self.name, self.owner)


def is_of_node(name: str, owner: str | None) -> bool:
    """Whether a limit binds everybody on the node."""
    return (name, owner) in ((PID_MAX, NODES_PID_NAMESPACE), (THREADS_MAX, NODE_OWNER))


class Limits:
    """By name and owner. Bounded: beyond 20,000 the less used half is forgotten."""

    def __init__(self) -> None:
        self.by_key: dict[tuple[str, str | None], LimitRecord] = {}

    def see(
        self, name: str, owner: str | None, value: int | None, usage: int | None, time_ns: int
    ) -> None:
        """Note what is used of it; nothing where either is not known."""
        if value is None or usage is None:
            return
        record = self.by_key.get((name, owner))
        if record is None:
            record = self.by_key[name, owner] = LimitRecord(name, owner, value)
            self._make_room()
        ratio = usage / value if value else 1.0
        if (ratio, -time_ns) > (record.peak_ratio, -record.peak_ns) or not record.peak_ns:
            record.peak_ratio, record.peak_usage, record.peak_ns = ratio, usage, time_ns
        if time_ns >= record.last_ns:
            record.value, record.last_ns = value, time_ns

    def _make_room(self) -> None:
        if len(self.by_key) > _MAX_LIMITS:
            ranked = sorted(self.by_key.items(), key=lambda item: item[1].peak_ratio)
            for key, _ in ranked[: len(ranked) // 2]:
                del self.by_key[key]


@dataclass
class VictimRecord:
    """A workload that one limit refused. Times in nanoseconds since 1970."""

    name: str
    kind: str
    first_ns: int
    last_ns: int
    counted: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By run: refusals of the run before the first event here, and up to the last."""

    @property
    def refused(self) -> int:
        """How often, in the time of the recording; lost events do not matter."""
        return sum(after - before for before, after in self.counted.values())

    def add(self, event: Event) -> None:
        """A refusal and those held back before it."""
        held_back = count(event.details, "suppressed_count") or 0
        after = count(event.details, "refused_count")
        before, until = self.counted.get(event.agent_id, (None, 0))
        if after is None:
            after = until + held_back + 1
        start = max(0, after - held_back - 1)
        self.counted[event.agent_id] = (
            start if before is None else min(before, start),
            max(until, after),
        )
        self.first_ns = min(self.first_ns, event.time_ns)
        self.last_ns = max(self.last_ns, event.time_ns)


@dataclass
class Holder:
    """A workload that held much of a limit when it refused."""

    name: str
    kind: str
    tasks: int
    share: float | None
    process: ProcessSeen | None


@dataclass
class CauseRecord:
    """One limit that refused."""

    limit: str
    owner: str | None
    first_ns: int
    last_ns: int
    value: int | None = None
    usage: int | None = None
    """What the kernel compared with it; the highest."""
    knob: str | None = None
    is_own_limit: bool = True
    """Nobody but the owner of the limit was refused."""
    evidence: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    also_reached: Counter[str] = field(default_factory=Counter)
    victims: dict[tuple[str, str], VictimRecord] = field(default_factory=dict)
    unlisted: int = 0
    """Refusals of victims for which there was no room."""
    holders: dict[str, Holder] = field(default_factory=dict)

    @property
    def refused(self) -> int:
        """By this limit, of all victims."""
        return self.unlisted + sum(victim.refused for victim in self.victims.values())

    @property
    def is_of_node(self) -> bool:
        """Everybody on the node is under it."""
        return is_of_node(self.limit, self.owner)

    def add(self, event: Event) -> None:
        """Take in an event ``threadtrace.fork.refused``."""
        details = event.details
        self.first_ns = min(self.first_ns, event.time_ns)
        if event.time_ns >= self.last_ns:
            self.last_ns = event.time_ns
            self.value = _known(count(details, "limit_value"), self.value)
            self.knob = text(details, "knob") or self.knob
        usage = count(details, "usage_value")
        if usage is not None:
            self.usage = max(usage, self.usage or 0)
        self.is_own_limit = self.is_own_limit and details.get("is_own_limit") is True
        self.evidence[(text(details, "evidence") or "unknown")[:40]] += 1
        self.errors[(text(details, "errno") or "unknown")[:40]] += 1
        self.also_reached.update(name[:40] for name in texts(details, "also_reached")[:8])
        self._add_victim(event)
        for holder in objects(details, "culprits")[:5]:
            self._add_holder(holder)

    def _add_victim(self, event: Event) -> None:
        kind, name = label_of(event.details)
        victim = self.victims.get((kind, name))
        if victim is None:
            if len(self.victims) >= _MAX_VICTIMS:
                self.unlisted += 1 + (count(event.details, "suppressed_count") or 0)
                return
            victim = VictimRecord(name, kind, event.time_ns, event.time_ns)
            self.victims[kind, name] = victim
        victim.add(event)

    def _add_holder(self, fields: Fields) -> None:
        tasks = count(fields, "tasks_count")
        if tasks is None:
            return
        kind, name = label_of(fields)
        known = self.holders.get(name)
        if known is None or tasks > known.tasks:
            process = process_seen(inner(fields, "process"))
            self.holders[name] = Holder(name, kind, tasks, number(fields, "share_ratio"), process)
        if len(self.holders) > _MAX_HOLDERS:
            del self.holders[min(self.holders.values(), key=lambda holder: holder.tasks).name]


class Causes:
    """By limit and owner. Bounded: further limits are counted."""

    def __init__(self) -> None:
        self.by_key: dict[tuple[str, str | None], CauseRecord] = {}
        self.unlisted = 0

    def add(self, event: Event) -> None:
        """Take in an event ``threadtrace.fork.refused``."""
        limit = (text(event.details, "limit") or "other")[:40]
        owner = text(event.details, "limit_owner")
        cause = self.by_key.get((limit, owner))
        if cause is None:
            if len(self.by_key) >= _MAX_CAUSES:
                self.unlisted += 1 + (count(event.details, "suppressed_count") or 0)
                return
            cause = CauseRecord(limit, owner, event.time_ns, event.time_ns)
            self.by_key[limit, owner] = cause
        cause.add(event)


def _known(value: int | None, before: int | None) -> int | None:
    return before if value is None else value
