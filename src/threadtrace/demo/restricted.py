"""What concerns the demo's own workloads, out of what the agent finds on the whole node."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from threadtrace.feed import Output
from threadtrace.identity.workloads import Workload
from threadtrace.model.diagnosis import Diagnosis, state_of
from threadtrace.model.snapshot import Happenings, Snapshot


class Restricted:
    """An output that passes on what is below one cgroup; the node's own numbers stay."""

    def __init__(self, outputs: Iterable[Output], above: str, is_shortened: bool = False) -> None:
        """Pass on to all of them.

        Args:
            outputs: in that order.
            above: path of the cgroup.
            is_shortened: whether paths are told from there on, for narrow tables.
        """
        self._outputs = tuple(outputs)
        self._above = above
        self._is_shortened = is_shortened

    def on_happenings(self, happened: Happenings) -> None:
        """Those of the demo's workloads."""
        mine = happened._replace(
            started=[one for one in happened.started if is_below(one.workload, self._above)],
            refusals=[
                one for one in happened.refusals if is_below(one.victim.workload, self._above)
            ],
            explosions=[one for one in happened.explosions if is_below(one.workload, self._above)],
        )
        for output in self._outputs:
            output.on_happenings(mine)

    def on_snapshot(self, snapshot: Snapshot) -> None:
        """The node, and the demo's workloads."""
        mine = snapshot._replace(
            workloads=tuple(
                one._replace(workload=self._shown(one.workload))
                for one in snapshot.workloads
                if is_below(one.workload, self._above)
            ),
            refusals=tuple(
                one for one in snapshot.refusals if is_below(one.victim.workload, self._above)
            ),
            ended=tuple(one for one in snapshot.ended if is_below(one.workload, self._above)),
            explosions=tuple(
                one for one in snapshot.explosions if is_below(one.workload, self._above)
            ),
        )
        for output in self._outputs:
            output.on_snapshot(mine)

    def _shown(self, workload: Workload) -> Workload:
        if not self._is_shortened or workload.cgroup_path is None:
            return workload
        return replace(workload, cgroup_path=workload.cgroup_path.removeprefix(f"{self._above}/"))


def is_below(workload: Workload, above: str) -> bool:
    """Whether a workload's topmost cgroup is below that one."""
    return (workload.cgroup_path or "").startswith(f"{above}/")


def diagnosis_below(diagnosis: Diagnosis, above: str, since_ns: int) -> Diagnosis:
    """The same without limits that have refused others only, or not since then.

    The nearest limit of all may be that of somebody else on the node: it is left out too.
    """
    causes = tuple(
        cause
        for cause in diagnosis.causes
        if cause.last.time_ns >= since_ns
        and any(is_below(victim.workload, above) for victim in cause.victims)
    )
    explosions = tuple(one for one in diagnosis.explosions if is_below(one.workload, above))
    state = state_of(causes, diagnosis.nearest, explosions)
    return diagnosis._replace(causes=causes, explosions=explosions, state=state, nearest=None)
