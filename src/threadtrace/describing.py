"""What is told of an explosion beside its numbers: who creates, what it is called, who suffers."""

from __future__ import annotations

from collections.abc import Sequence

from threadtrace.attribution import ProcessAttribution
from threadtrace.forecasting import Binding
from threadtrace.model.accounts import Account
from threadtrace.model.explosion import CreatingProcess, ThreadName, VictimCount
from threadtrace.model.snapshot import ProcessSnapshot
from threadtrace.node.threads import describe_process, thread_names
from threadtrace.probe.records import Limit, RefusalKey
from threadtrace.verdict import Refusals

_SHOWN = 5


class Describer:
    """Looks closer at a workload that explodes; ten milliseconds at most."""

    def __init__(self, attribution: ProcessAttribution, refusals: Refusals) -> None:
        """Out of what these know."""
        self._attribution = attribution
        self._refusals = refusals

    def top_processes(self, account: Account) -> tuple[ProcessSnapshot, ...]:
        """Those with most threads."""
        return self._attribution.top(account)

    def process(
        self, account: Account, creator: int | None, top: Sequence[ProcessSnapshot]
    ) -> CreatingProcess | None:
        """The one that creates most of what grows.

        Args:
            account: the workload.
            creator: a process that was seen to create much at once; None where none was.
            top: its largest processes.
        """
        pid = self._attribution.busiest(account) or creator
        if pid is None or (top and top[0].threads > 1 and not _is_among(pid, top)):
            pid = top[0].pid if top else None
        if pid is None:
            return None
        details = describe_process(pid)
        name = next((process.name for process in top if process.pid == pid), "")
        return CreatingProcess(pid, name or self._attribution.name(pid), *details)

    def thread_names(self, process: CreatingProcess | None) -> tuple[ThreadName, ...]:
        """What its threads are called, most first."""
        if process is None:
            return ()
        return tuple(ThreadName(*found) for found in thread_names(process.pid)[:_SHOWN])

    def victims(
        self, account: Account, since_ns: int, bindings: Sequence[Binding]
    ) -> tuple[tuple[VictimCount, ...], int]:
        """Other workloads that were refused by limits which bind this one, and how many they are.

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
        return tuple(VictimCount(*victim) for victim in found[:_SHOWN]), len(found)


def _is_among(pid: int, processes: Sequence[ProcessSnapshot]) -> bool:
    return any(process.pid == pid for process in processes)
