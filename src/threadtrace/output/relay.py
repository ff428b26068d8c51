"""The event stream for whoever connects to a running agent.

Every connection is a run of its own: an ``agent.id``, ``event.sequence`` from 1 without a gap,
first ``threadtrace.started``, then what there is, then what happens. The events are rendered once
for all readers, and not at all while there are none.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Generator, Iterator

from threadtrace import __version__
from threadtrace.agent import Agent
from threadtrace.feed import Output
from threadtrace.model.explosion import Explosion, Transition
from threadtrace.model.snapshot import Happenings, Loss, Snapshot
from threadtrace.output.events import EventWriter
from threadtrace.output.fields import Fields
from threadtrace.output.lines import RankedLine, happening_lines, tick_lines
from threadtrace.output.relay_window import Line, RelayWindow
from threadtrace.output.several import Several

_TICK_END = b"\n"

# Both stand once in a line, since a quote within a text is escaped.
_BEFORE_SEQUENCE = b'"sequence":'
_BEFORE_ID = b'"agent":{"name":"threadtrace","version":"%b","id":"' % __version__.encode()
_ID_BYTES = 36


class Relay:
    """An output that tells events to any number of listeners.

    What grows: while somebody listens, 8 MiB or 120 seconds of lines; and the last event of each
    explosion that is under way.
    """

    def __init__(
        self,
        time_ns: int,
        details: Fields,
        counts_refusals: bool,
        window: RelayWindow | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nobody listens yet.

        Args:
            time_ns: when the agent began to count.
            details: what ``threadtrace.started`` carries.
            counts_refusals: whether refused clones are counted.
            window: what readers that are slow can still get.
            clock: monotonic, in seconds.
        """
        self._time_ns = time_ns
        self._details = details
        self._counts_refusals = counts_refusals
        self.window = window or RelayWindow()
        """What is kept for readers that are not up to date."""
        self._clock = clock
        # For ids of explosions, which are the same for all readers.
        self._run_id = str(uuid.uuid4())
        self._writer = self.new_writer()
        self._listeners: set[Listener] = set()
        self._last: Snapshot | None = None
        self._explosions: dict[int, Explosion] = {}

    def listen(self) -> Listener:
        """One more, who is told first what there is now."""
        listener = Listener(self)
        self._listeners.add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        """One less."""
        self._listeners.discard(listener)
        if not self._listeners:
            self.window.clear()
            self._writer = self.new_writer()  # it remembers workloads whose end it is not told

    def new_writer(self) -> EventWriter:
        """Of this relay's run."""
        return EventWriter(counts_refusals=self._counts_refusals, run_id=self._run_id)

    def on_happenings(self, happened: Happenings) -> None:
        """Workloads appeared, clones were refused, threads explode."""
        self._follow(happened.explosions)
        if self._listeners:
            self._keep(happening_lines(self._writer, happened), ends_tick=False)

    def on_snapshot(self, snapshot: Snapshot) -> None:
        """A tick."""
        is_first, self._last = self._last is None, snapshot
        self._follow(snapshot.explosions)
        if self._listeners:
            self._keep(tick_lines(self._writer, snapshot, is_first), ends_tick=True)

    def opening(self, lost: int) -> Iterator[Line]:
        """What there is, for a reader that knows nothing, made as it is asked for.

        Args:
            lost: events that this reader was too slow for.
        """
        writer, last = self.new_writer(), self._last
        explosions = tuple(self._explosions.values())
        now_ns = self._time_ns if last is None else last.time_ns
        yield _split(writer.started(self._time_ns, self._details))
        if lost:
            yield _split(writer.loss(now_ns, Loss("connection", lost)))
        if last is not None:
            told = last._replace(ended=(), refusals=(), losses=(), explosions=explosions)
            yield from (_split(line) for _, line in tick_lines(writer, told, True))

    def _follow(self, explosions: list[Explosion] | tuple[Explosion, ...]) -> None:
        for explosion in explosions:
            if explosion.transition is Transition.ENDED:
                self._explosions.pop(explosion.number, None)
            else:
                under_way = explosion._replace(transition=Transition.UPDATED)
                self._explosions[explosion.number] = under_way

    def _keep(self, lines: Iterator[RankedLine], ends_tick: bool) -> None:
        batch = [_split(line) for _, line in lines]
        if batch:
            self.window.add(batch, ends_tick, self._clock())


class Listener:
    """One reader, at its place in what the relay tells."""

    def __init__(self, relay: Relay) -> None:
        """At the beginning: of what there is when it reads first."""
        self._relay = relay
        self._lines = self._tell()

    def read(self, max_bytes: int) -> bytes:
        """Whole lines, about so many bytes at most; empty when there is nothing new."""
        lines, size = [], 0
        while size < max_bytes:
            line = next(self._lines)
            if not line:
                break
            lines.append(line)
            size += len(line)
        return b"".join(lines)

    def close(self) -> None:
        """It listens no more."""
        self._lines.close()
        self._relay.leave(self)

    def _tell(self) -> Generator[bytes, None, None]:
        """Lines without end, an empty one after each tick; nothing where there is nothing new."""
        window, lost = self._relay.window, 0
        while True:
            run_id, sequence = str(uuid.uuid4()).encode(), 0
            number, next_line = window.end_number, window.end_line
            for line in self._relay.opening(lost):
                sequence += 1
                yield line.numbered(sequence, run_id)
            yield _TICK_END
            while True:
                batch = window.batch(number)
                if batch is None and number < window.end_number:
                    # Too slow: all of it anew, as another run, since it would keep what is gone.
                    lost = window.end_line - next_line
                    break
                if batch is None:
                    yield b""
                    continue
                for line in batch.lines:
                    sequence += 1
                    yield line.numbered(sequence, run_id)
                if batch.ends_tick:
                    yield _TICK_END
                number, next_line = number + 1, batch.end_line


def connect_relay(agent: Agent, details: Fields) -> Relay:
    """A relay of this agent's events, which who connects to its socket gets, if it has one."""
    relay = Relay(time.time_ns(), details, agent.counts_refusals)
    if agent.answers is not None:
        agent.answers.broadcast = relay
    return relay


def relayed(output: Output, agent: Agent, details: Fields) -> Output:
    """The output, whose events are told to who connects to the agent's socket, if it has one."""
    if agent.answers is None:
        return output
    return Several([connect_relay(agent, details), output])  # it never waits, and the output may


def _split(line: bytes) -> Line:
    """Apart where each reader's run has its own values."""
    sequence = line.index(_BEFORE_SEQUENCE) + len(_BEFORE_SEQUENCE)
    after = line.index(b"}", sequence)
    run_id = line.index(_BEFORE_ID, after) + len(_BEFORE_ID)
    return Line(line[:sequence], line[after:run_id], line[run_id + _ID_BYTES :])
