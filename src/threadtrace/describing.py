"""What is told of an explosion beside its numbers: who creates, what it is called, who suffers."""

from __future__ import annotations

from collections.abc import Sequence

from threadtrace.attribution import ProcessAttribution
from threadtrace.clock import NANOSECONDS, Clock
from threadtrace.followed import Followed
from threadtrace.forecasting import Binding
from threadtrace.model.accounts import Account
from threadtrace.model.explosion import (
    CreatingProcess,
    Explosion,
    Forecast,
    Rates,
    ThreadName,
    Transition,
    VictimCount,
)
from threadtrace.model.snapshot import ProcessSnapshot, Totals
from threadtrace.node.threads import describe_process, thread_names
from threadtrace.probe.records import Limit, RefusalKey
from threadtrace.verdict import Refusals

_SHOWN = 5


class Describer:
    """Looks closer at a workload that explodes; ten milliseconds at most."""

    def __init__(self, attribution: ProcessAttribution, refusals: Refusals, clock: Clock) -> None:
        """Out of what these know."""
        self._attribution = attribution
        self._refusals = refusals
        self._clock = clock

    def explosion(
        self,
        account: Account,
        followed: Followed,
        transition: Transition,
        counts: Totals,
        forecast: Forecast | None,
        bindings: Sequence[Binding],
        node_tasks: int,
    ) -> Explosion:
        """An episode as it stands now.

        Args:
            account: the workload.
            followed: with an episode.
            transition: what is told.
            counts: all births and exits of the workload so far.
            forecast: of its nearest limit.
            bindings: all limits that bind it.
            node_tasks: all that there are.
        """
        track, episode = followed.track, followed.track.episode
        assert episode is not None
        onset_ns = int(episode.onset_s * NANOSECONDS)
        top = self._attribution.top(account)
        process = self._process(account, followed.creator, top)
        victims = self._victims(account, onset_ns, bindings)
        since = [max(0, now - before) for now, before in zip(counts, followed.before)]
        return Explosion(
            transition=transition,
            number=followed.number,
            time_ns=self._clock.realtime_ns(),
            onset_ns=self._clock.realtime_of(onset_ns),
            workload=account.workload,
            state=track.state,
            shape=episode.shape,
            evidence=episode.evidence,
            tasks=max(0, account.tasks),
            tasks_at_start=episode.tasks_at_start,
            tasks_peak=track.tasks_peak,
            counts=Totals(since[0], since[1], since[2], followed.refused),
            growth_per_second=track.growth().recent_per_second,
            rates=Rates(*followed.rates),
            share_of_node_ratio=min(1.0, account.tasks / node_tasks) if node_tasks > 0 else None,
            forecast=forecast,
            process=process,
            thread_names=_thread_names(process),
            top_processes=top,
            victims=tuple(victims[:_SHOWN]),
            victims_count=len(victims),
            ended=track.ended,
        )

    def _process(
        self, account: Account, creator: int | None, top: Sequence[ProcessSnapshot]
    ) -> CreatingProcess | None:
        """The one that creates most of what grows.

        Args:
            account: the workload.
            creator: a process that was seen to create much at once, since the last tick.
            top: its largest processes.
        """
        pid = creator or self._attribution.busiest(account)
        if pid is None or (top and top[0].threads > 1 and not _is_among(pid, top)):
            pid = top[0].pid if top else None
        if pid is None:
            return None
        details = describe_process(pid)
        name = next((process.name for process in top if process.pid == pid), "")
        return CreatingProcess(pid, name or self._attribution.name(pid), *details)

    def _victims(
        self, account: Account, since_ns: int, bindings: Sequence[Binding]
    ) -> list[VictimCount]:
        """Other workloads that were refused by limits which bind this one, most refused first.

        Args:
            account: the workload.
            since_ns: monotonic; who was refused before does not count.
            bindings: the limits.
        """
        owners = {(binding.limit, binding.owner) for binding in bindings}

        def binds(key: RefusalKey, level: int) -> bool:
            limit = Limit(key.limit)
            of_node = limit is Limit.THREADS_MAX or (limit is Limit.PID_MAX and not level)
            return of_node or (limit, key.owner) in owners

        found = self._refusals.victims(since_ns, binds, account.workload)
        return [VictimCount(*victim) for victim in found]


def _thread_names(process: CreatingProcess | None) -> tuple[ThreadName, ...]:
    """What its threads are called, most first."""
    if process is None:
        return ()
    return tuple(ThreadName(*found) for found in thread_names(process.pid)[:_SHOWN])


def _is_among(pid: int, processes: Sequence[ProcessSnapshot]) -> bool:
    return any(process.pid == pid for process in processes)
