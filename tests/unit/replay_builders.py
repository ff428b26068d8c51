"""Recordings in the making, and a replay whose time goes when it is told."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from builders import snapshot
from test_explosion_events import LEAK

from support.heard import Heard
from support.recording import STARTED, rates, refusal
from threadtrace.feeds.play_through import play_through
from threadtrace.feeds.replay import Replay
from threadtrace.model.explosion import End, Explosion, State, Transition
from threadtrace.model.snapshot import Happenings, Snapshot
from threadtrace.output.events import EventWriter
from threadtrace.output.stream import EventStream

SECOND = 1_000_000_000
START = snapshot().time_ns
RECORD = Path(__file__).parents[1] / "data" / "pids-max-of-parent.jsonl.gz"


class Made:
    """A recording in the making; each tick a second after the one before."""

    def __init__(self, node: str = "", at: float = 0.0) -> None:
        self.lines: list[bytes] = []
        self.seconds = at
        environment = {"NODE_NAME": node} if node else {}
        self.stream = EventStream(EventWriter(environment), self, False)  # type: ignore[arg-type]

    def write(self, lines: list[bytes], rank: object) -> None:
        self.lines += lines

    def take_lost(self) -> dict[str, int]:
        return {}

    @property
    def now_ns(self) -> int:
        return START + round(self.seconds * SECOND)

    def start(self) -> Made:
        self.stream.on_start(self.now_ns, STARTED)
        return self

    def tick(self, *workloads: Any, after: float = 1.0, **changes: Any) -> Made:
        self.stream.on_snapshot(snapshot(*workloads)._replace(time_ns=self.now_ns, **changes))
        self.seconds += after
        return self

    def ticks(self, count: int) -> Made:
        """Workload 0 is always active, each other in one tick of fifty."""
        for number in range(count):
            self.tick(rates(0, 1 + number), rates(1 + number % 50))
        return self

    def between(self, before: float, **told: Any) -> Made:
        """That long before the next tick."""
        self.stream.on_happenings(
            Happenings(**{"started": [], "refusals": [], "explosions": []} | told)
        )
        return self

    def refused(self, before: float = 0.5) -> Made:
        return self.between(before, refusals=[refusal(1, self.now_ns - round(before * SECOND))])

    def explosion(self, transition: Transition, before: float = 0.5, **changes: Any) -> Made:
        return self.between(before, explosions=[self.leak(transition, before, **changes)])

    def leak(self, transition: Transition, before: float = 0.5, **changes: Any) -> Explosion:
        is_over = transition is Transition.ENDED
        return LEAK._replace(
            transition=transition,
            time_ns=self.now_ns - round(before * SECOND),
            state=State.QUIET if is_over else State.EXPLODING,
            ended=End.CALMED if is_over else None,
            victims=(),
            victims_count=0,
            **changes,
        )

    def file(self, path: Path, packed: bool = False) -> str:
        content = b"".join(self.lines)
        path.write_bytes(gzip.compress(content, mtime=0) if packed else content)
        return str(path)


class HandTime:
    """A clock that goes on by itself whenever somebody waits for it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []
        self.is_idle = False
        """Nothing is due, whatever the time."""

    def clock(self) -> float:
        return self.now

    async def wait(self, event: asyncio.Event, seconds: float | None) -> None:
        if event.is_set():
            return
        if seconds is None:
            self.is_idle = True
            await event.wait()
            self.is_idle = False
            return
        self.waits.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


class Playing:
    """A replay that runs beside a test."""

    def __init__(self, path: str, **options: Any) -> None:
        self.time = HandTime()
        self.heard = Heard()
        self.replay = Replay(path, clock=self.time.clock, wait=self.time.wait, **options)
        self.failed: BaseException | None = None

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let it run; fails where the condition does not come true."""
        deadline = asyncio.get_running_loop().time() + 300
        while not condition():
            if self._task.done():
                self._task.result()
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0)

    async def settled(self) -> None:
        """All that was wanted is done, and nothing is due."""
        replay = self.replay
        await self.until(
            lambda: self.time.is_idle and replay.is_indexed and not replay._wake.is_set()
        )

    async def to_end(self) -> None:
        await self.until(lambda: self.replay.is_at_end)
        await self.settled()

    async def run(self, body: Callable[[Playing], Awaitable[None]]) -> None:
        self._task = asyncio.ensure_future(self.replay.run(self.heard))
        try:
            await body(self)
        finally:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


def play(path: str, body: Callable[[Playing], Awaitable[None]], **options: Any) -> Playing:
    playing = Playing(path, **options)
    asyncio.run(playing.run(body))
    return playing


def play_to_end(path: str, **options: Any) -> Playing:
    return play(path, Playing.to_end, **options)


def through(path: str, node: str | None = None) -> Heard:
    heard = Heard()
    play_through(path, heard, node)
    return heard


def shown(told: Snapshot) -> Any:
    """Of a tick, without what has no order."""
    by_key = {entry.workload.key: entry for entry in told.workloads}
    return told._replace(workloads=()), by_key


# Pace.
