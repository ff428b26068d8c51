"""From the kernel's record of a refusal to one that an operator can act on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain

from threadtrace.clock import Clock
from threadtrace.holders import Holders
from threadtrace.identity.workloads import Workload, unknown
from threadtrace.model import knobs
from threadtrace.model.accounts import Accounts
from threadtrace.model.diagnosis import Cause, VictimCount
from threadtrace.model.refusal import Culprit, Refusal, Victim
from threadtrace.node.cgroups import Cgroup, CgroupTree
from threadtrace.owners import HAS_OWNER, LOWER_HALF, owner_and_knob
from threadtrace.probe.records import (
    Evidence,
    Limit,
    RefusalCounts,
    RefusalKey,
    RefusalRecord,
    Refused,
)
from threadtrace.text import error_name

# Refusals told between two ticks; those of further victims are told at later ticks, with their
# numbers. With one record a second for each victim and limit this is a node in flames.
_TOLD_PER_INTERVAL = 64

# A storm is over, and what the kernel held back is told, when none came for so long.
_QUIET_NS = 1_000_000_000

# How long after the last refusal the limit is still said to refuse: a probe that is refused comes
# again after its period, by default ten seconds.
_NOW_NS = 15_000_000_000

# How often the holders of a limit are looked for: looking may take this share of the time. And of
# how many limits the last look is kept.
_LOOK_SECONDS = 0.1
_LOOK_RATIO = 0.05
_KEPT_LOOKS = 256

# Refusals of victims that are gone: so many are kept for `why`, beside those still to be told.
_KEPT_GONE = 1_024


class Refusals:
    """Tells of refusals: at once, and what was held back when it is over.

    What grows: one refusal for each victim and limit; of victims that are gone, 1,024 are kept.
    """

    def __init__(
        self,
        accounts: Accounts,
        tree: CgroupTree,
        holders: Holders,
        clock: Clock,
    ) -> None:
        """Explain from what these know.

        Args:
            accounts: workloads and what they hold.
            tree: cgroups by id.
            holders: who holds a limit.
            clock: for the kernel's times, and how old a look at the holders is.
        """
        self._accounts = accounts
        self._tree = tree
        self._holders = holders
        self._clock = clock
        self._told: dict[RefusalKey, Refusal] = {}
        self._room = _TOLD_PER_INTERVAL
        self._looks: dict[tuple[int, int], tuple[float, tuple[Culprit, ...]]] = {}
        self._counts: Mapping[RefusalKey, RefusalCounts] = {}
        self._gone: dict[RefusalKey, RefusalCounts] = {}
        self._gone_workloads: dict[int, Workload] = {}

    @property
    def has_room(self) -> bool:
        """Whether one more may be told before the next tick; those beyond are told later."""
        return self._room > 0

    def explain(self, record: RefusalRecord) -> Refusal:
        """One that the kernel told of, while there is room."""
        self._room -= 1
        victim = Victim(
            self._workload_of(record.key.cgroup_id), record.tgid, record.tid, record.thread_name
        )
        reached = tuple(sorted(record.reached - {record.key.limit}))
        refusal = self._told[record.key] = self._refusal(
            record.key,
            record.timestamp_ns,
            record.count,
            victim,
            (record.usage, record.limit_value, record.pid_namespace_level),
            record.refused,
            reached,
        )
        return refusal

    def held_back(
        self, counts: Mapping[RefusalKey, RefusalCounts], now_ns: int, is_last: bool
    ) -> Iterator[Refusal]:
        """Those that were counted but not told, once their storm is over.

        Args:
            counts: of all refusals so far, of victims that are there.
            now_ns: monotonic, like the times of ``counts``.
            is_last: tell all, since there will be no further call.
        """
        self._counts = counts
        self._room = _TOLD_PER_INTERVAL
        for key, counted in chain(self._gone.items(), counts.items()):
            told = self._told.get(key)
            pending = counted.refused - (told.refused_count if told else 0)
            is_over = key in self._gone or now_ns - counted.last_ns >= _QUIET_NS
            if pending <= 0 or not (is_over or is_last):
                continue
            if self._room <= 0 and not is_last:
                return
            self._room -= 1
            late = self._told[key] = self._told_late(key, counted, told)
            yield late

    def causes(self, counts: Mapping[RefusalKey, RefusalCounts], now_ns: int) -> list[Cause]:
        """All refusals so far by limit and owner, victims together.

        Args:
            counts: of all refusals so far, of victims that are there.
            now_ns: monotonic, like the times of ``counts``.
        """
        everything = {**self._gone, **counts}
        groups: dict[tuple[int, int, int, int | None], list[RefusalKey]] = {}
        for key in everything:
            groups.setdefault(self._group_of(key), []).append(key)
        found = []
        for keys in groups.values():
            last = max(keys, key=lambda key: everything[key].last_ns)
            told = self._told.get(last) or self._told_late(last, everything[last], None)
            victims = [self._victim_count(key, everything[key]) for key in keys]
            victims.sort(key=lambda victim: -victim.refused)
            is_now = now_ns - everything[last].last_ns <= _NOW_NS
            found.append(Cause(told, tuple(victims), is_now))
        return found

    def victims(
        self, since_ns: int, binds: Callable[[RefusalKey, int], bool], but: Workload
    ) -> list[tuple[Workload, int]]:
        """Other workloads that certain limits have refused, and how often; most refused first.

        Args:
            since_ns: monotonic; who was not refused since then is left out.
            binds: whether the limit of a key is one of them, given the level of its PID namespace.
            but: the workload that is left out.
        """
        found: dict[str, tuple[Workload, int]] = {}
        for key, counted in chain(self._gone.items(), self._counts.items()):
            told = self._told.get(key)
            level = told.pid_namespace_level if told else 0
            if counted.last_ns < since_ns or not binds(key, level):
                continue
            workload = self._workload_of(key.cgroup_id)
            if workload.key != but.key:
                before = found.get(workload.key, (workload, 0))[1]
                found[workload.key] = workload, before + counted.refused
        return sorted(found.values(), key=lambda victim: -victim[1])

    def _group_of(self, key: RefusalKey) -> tuple[int, int, int, int | None]:
        """What makes two refusals ones by the same limit; each process has its own RLIMIT_NPROC."""
        told = self._told.get(key) if key.limit == Limit.RLIMIT_NPROC else None
        return key.limit, key.owner, key.error, told.limit_value if told else None

    def _victim_count(self, key: RefusalKey, counted: RefusalCounts) -> VictimCount:
        return VictimCount(
            self._workload_of(key.cgroup_id),
            counted.refused,
            self._clock.realtime_of(counted.first_ns),
            self._clock.realtime_of(counted.last_ns),
            key in self._gone,
        )

    def close(self, keys: Iterable[RefusalKey]) -> None:
        """Their victim is gone, and all that was counted of it has been read."""
        for key in keys:
            if key in self._counts:
                self._gone[key] = self._counts[key]
                self._gone_workloads[key.cgroup_id] = self._workload_of(key.cgroup_id)
        if len(self._gone) > _KEPT_GONE:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        for key, counted in list(self._gone.items()):
            told = self._told.get(key)
            if told is None or told.refused_count < counted.refused:
                continue  # still to be told
            del self._gone[key], self._told[key]
            if len(self._gone) <= _KEPT_GONE:
                break
        kept = {key.cgroup_id for key in self._gone}
        self._gone_workloads = {
            cgroup_id: workload
            for cgroup_id, workload in self._gone_workloads.items()
            if cgroup_id in kept
        }

    def _refusal(
        self,
        key: RefusalKey,
        time_ns: int,
        count: int,
        victim: Victim,
        readings: tuple[int | None, int | None, int],
        refused: Refused,
        also_reached: tuple[Limit, ...],
    ) -> Refusal:
        usage, limit_value, level = readings
        limit = Limit(key.limit)
        told = self._told.get(key)
        suppressed = max(0, count - (told.refused_count if told else 0) - 1)
        owner_cgroup = self._tree.find(key.owner) if limit is Limit.PIDS_MAX else None
        owner, knob = _owner_and_knob(key, owner_cgroup, level)
        return Refusal(
            time_ns=self._clock.realtime_of(time_ns),
            victim=victim,
            error=key.error,
            refused=refused,
            limit=limit,
            limit_value=limit_value,
            usage=usage,
            owner=owner,
            is_own_limit=self._is_own(key, owner_cgroup),
            knob=knob,
            evidence=Evidence(key.evidence),
            also_reached=also_reached,
            culprits=self._culprits(key, owner_cgroup, level, usage),
            refused_count=count,
            suppressed=suppressed,
            pid_namespace_level=level,
        )

    def _told_late(self, key: RefusalKey, counted: RefusalCounts, told: Refusal | None) -> Refusal:
        """The last of a storm, as the one before it was told: nobody looked in its instant."""
        if told is None:
            victim = Victim(self._workload_of(key.cgroup_id), 0, 0, "")
            readings, refused = (None, None, 0), Refused.UNKNOWN
            return self._refusal(
                key, counted.last_ns, counted.refused, victim, readings, refused, ()
            )
        return told._replace(
            time_ns=self._clock.realtime_of(counted.last_ns),
            refused_count=counted.refused,
            suppressed=counted.refused - told.refused_count - 1,
        )

    def _workload_of(self, cgroup_id: int) -> Workload:
        account = self._accounts.account_of_cgroup(cgroup_id)
        if account is not None:
            return account.workload
        return self._gone_workloads.get(cgroup_id) or unknown(cgroup_id)

    def _is_own(self, key: RefusalKey, owner: Cgroup | None) -> bool:
        if owner is None:
            return False
        of_owner = self._accounts.account_of_cgroup(owner.id)
        return of_owner is not None and of_owner is self._accounts.account_of_cgroup(key.cgroup_id)

    def _culprits(
        self, key: RefusalKey, owner: Cgroup | None, level: int, usage: int | None
    ) -> tuple[Culprit, ...]:
        """Who holds the limit; looked for again only when the last look is some time ago."""
        start = self._clock.seconds()
        look_again_at, culprits = self._looks.get((key.limit, key.owner), (-math.inf, ()))
        if start >= look_again_at:
            culprits = self._look(key, owner, level, usage)
            if len(self._looks) >= _KEPT_LOOKS:
                self._looks.clear()
            end = self._clock.seconds()
            pause = max(_LOOK_SECONDS, (end - start) / _LOOK_RATIO)
            self._looks[key.limit, key.owner] = end + pause, culprits
        return culprits

    def _look(
        self, key: RefusalKey, owner: Cgroup | None, level: int, usage: int | None
    ) -> tuple[Culprit, ...]:
        if key.limit == Limit.PIDS_MAX:
            return self._holders.below(owner, usage) if owner is not None else ()
        if key.limit == Limit.THREADS_MAX or (key.limit == Limit.PID_MAX and level == 0):
            return self._holders.below(self._tree.root, usage)
        if key.limit == Limit.PID_MAX:
            return self._holders.in_pid_namespace(key.owner & LOWER_HALF, usage)
        if key.limit == Limit.RLIMIT_NPROC:
            return self._holders.of_user(key.owner & LOWER_HALF, usage)
        return ()


def _owner_and_knob(key: RefusalKey, owner: Cgroup | None, level: int) -> tuple[str | None, str]:
    limit = Limit(key.limit)
    if limit in HAS_OWNER:
        return owner_and_knob(limit, key.owner, owner, level)
    return None, knobs.knob_of_other(limit, error_name(key.error))
