"""Events of one node back into what its agent gave to outputs. Pure: no clock, no files."""

from __future__ import annotations

from threadtrace.feed import FeedOutput
from threadtrace.model.explosion import Explosion, State
from threadtrace.model.refusal import Refusal
from threadtrace.model.snapshot import (
    EndedWorkload,
    Happenings,
    Loss,
    NodeSnapshot,
    Snapshot,
    StartedWorkload,
    WorkloadSnapshot,
)
from threadtrace.report.fields import count, text
from threadtrace.report.reading import (
    APPEARED,
    EXPLOSION_ENDED,
    EXPLOSION_STARTED,
    EXPLOSION_UPDATED,
    GONE,
    LOSS,
    NODE,
    RATES,
    REFUSED,
    STARTED,
    Event,
)
from threadtrace.restore.about import about_of
from threadtrace.restore.happenings import explosion_of, refusal_of
from threadtrace.restore.rates import idle, node_of, totals, workload_of
from threadtrace.restore.workloads import MAX_WORKLOADS, Workloads


class EventDecoder:
    """Tells an output what it would have been told where the events were made.

    A tick is ``node.limits``, the rates with its timestamp, and what follows of losses, of
    workloads that are gone, and of refusals and explosions up to its time. It is told at the next
    event that is none of these, or at ``flush``.

    What grows: a snapshot and a name of each workload that is there.
    """

    def __init__(self, output: FeedOutput) -> None:
        """Tells that output."""
        self.unusable = 0
        """Events that lack what they are about."""
        self._output = output
        self._agent_id: str | None = None
        self._handlers = {
            NODE: self._on_node,
            RATES: self._on_rates,
            REFUSED: self._on_refused,
            APPEARED: self._on_appeared,
            GONE: self._on_gone,
            LOSS: self._on_loss,
            EXPLOSION_STARTED: self._on_explosion,
            EXPLOSION_UPDATED: self._on_explosion,
            EXPLOSION_ENDED: self._on_explosion,
        }
        self._workloads = Workloads()
        self._shown: dict[str, WorkloadSnapshot] = {}
        self._active: set[str] = set()
        self._active_before: set[str] = set()
        self._node: NodeSnapshot | None = None
        """Of the tick that has begun and was not told yet."""
        self._tick_ns = -1
        self._ended: list[EndedWorkload] = []
        self._ended_after_rates: set[str] = set()
        self._refusals: list[Refusal] = []
        self._explosions: list[Explosion] = []
        self._losses: list[Loss] = []

    def feed(self, event: Event) -> None:
        """Take one event; never raises, whatever is in it."""
        if event.name == STARTED or event.agent_id != self._agent_id:
            self.begin(event)
            if event.name == STARTED:
                return
        handler = self._handlers.get(event.name)
        if handler is None or not handler(event):
            self.unusable += 1

    def begin(self, event: Event) -> None:
        """Another run of an agent, of which that is the first event; tells who speaks."""
        self.flush()
        self._forget()
        self._agent_id = event.agent_id
        self._output.on_start(about_of(event))

    def flush(self) -> None:
        """Nothing more belongs to the tick, if one has begun: tell it."""
        node, self._node = self._node, None
        if node is None:
            return
        shown = self._shown
        for key in self._active_before - self._active:
            if key in shown:
                shown[key] = idle(shown[key])
        workloads = tuple(entry for entry in shown.values() if entry.tasks or entry.is_active)
        snapshot = Snapshot(
            self._tick_ns,
            node,
            workloads,
            tuple(self._ended),
            tuple(self._refusals),
            tuple(self._losses),
            tuple(self._explosions),
        )
        for key in self._ended_after_rates:
            shown.pop(key, None)
        self._active_before, self._active = self._active, set()
        self._start_collecting()
        self._output.on_snapshot(snapshot)

    def _forget(self) -> None:
        """Another run begins."""
        self._workloads = Workloads()
        self._shown = {}
        self._active, self._active_before = set(), set()
        self._node, self._tick_ns = None, -1
        self._start_collecting()

    def _start_collecting(self) -> None:
        """For the next tick."""
        self._ended, self._ended_after_rates = [], set()
        self._refusals, self._explosions, self._losses = [], [], []

    def _on_node(self, event: Event) -> bool:
        self.flush()
        self._node, self._tick_ns = node_of(event.details), event.time_ns
        return True

    def _on_rates(self, event: Event) -> bool:
        if event.time_ns != self._tick_ns:
            self.flush()
        workload = self._workloads.of_event(event)
        if workload is None:
            return False
        snapshot = workload_of(workload, event.details, self._node)
        key = workload.key
        if snapshot is None or (key not in self._shown and len(self._shown) >= MAX_WORKLOADS):
            return False
        if event.time_ns == self._tick_ns:
            # Where the tick was told already, the next one tells it.
            self._active.add(key)
        else:
            snapshot = idle(snapshot)
        self._shown[key] = snapshot
        return True

    def _on_refused(self, event: Event) -> bool:
        self._end_tick_before(event)
        refusal = refusal_of(event, self._workloads)
        if refusal is None:
            return False
        if self._node is not None:
            self._refusals.append(refusal)
        else:
            self._output.on_happenings(Happenings([], [refusal], []))
        return True

    def _on_explosion(self, event: Event) -> bool:
        self._end_tick_before(event)
        explosion = explosion_of(event, self._workloads)
        if explosion is None:
            return False
        self._note_state(explosion)
        if self._node is not None:
            self._explosions.append(explosion)
        else:
            self._output.on_happenings(Happenings([], [], [explosion]))
        return True

    def _on_appeared(self, event: Event) -> bool:
        self.flush()
        workload = self._workloads.of_event(event)
        if workload is None:
            return False
        started = StartedWorkload(workload, event.time_ns)
        self._output.on_happenings(Happenings([started], [], []))
        return True

    def _on_gone(self, event: Event) -> bool:
        workload = self._workloads.of_event(event)
        if workload is None:
            return False
        peak = count(event.details, "tasks_peak") or 0
        self._ended.append(EndedWorkload(workload, event.time_ns, totals(event.details), peak))
        self._workloads.forget(workload)
        if self._node is not None and workload.key in self._active:
            self._ended_after_rates.add(workload.key)
        else:
            self._shown.pop(workload.key, None)
            self._active.discard(workload.key)
        return True

    def _on_loss(self, event: Event) -> bool:
        where, lost = text(event.details, "where"), count(event.details, "lost_count")
        if where is None or lost is None:
            return False
        self._losses.append(Loss(where, lost))
        return True

    def _end_tick_before(self, event: Event) -> None:
        if event.time_ns > self._tick_ns:
            self.flush()

    def _note_state(self, explosion: Explosion) -> None:
        """An idle workload has no rates that would tell."""
        key = explosion.workload.key
        known = self._shown.get(key)
        state = None if explosion.state is State.QUIET else explosion.state
        if known is not None and key not in self._active and known.state is not state:
            self._shown[key] = known._replace(state=state)
