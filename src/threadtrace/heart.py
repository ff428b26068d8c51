"""What drives an agent: ticks that come in time, in a loop of its own or in an event loop."""

from __future__ import annotations

import asyncio
import gc
import os
import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from threadtrace.agent import Agent, BlindAgent
from threadtrace.clock import NANOSECONDS
from threadtrace.deadlines import set_or_later
from threadtrace.feed import Output
from threadtrace.log import warn
from threadtrace.selfcare.own_cost import Ticking
from threadtrace.selfcare.pacing import Pacer
from threadtrace.stopping import StopSignal

_GARBAGE_SECONDS = 600.0
_HIGHEST_PRIORITY = -20
_LEAST_WAIT_SECONDS = 0.001


def run(
    agent: Agent | BlindAgent,
    output: Output,
    stop: StopSignal,
    interval_seconds: float,
    duration_seconds: float | None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Tick until told to stop or the duration is over; the last, shorter interval is told too.

    The first tick comes at once: it shows what was there before the start. A tick that is late
    is not made up for: the next one covers the longer interval, whose length the snapshot tells.
    """
    collect_garbage_seldom()
    with before_others():
        _run(agent, output, stop, interval_seconds, duration_seconds, clock)


def _run(
    agent: Agent | BlindAgent,
    output: Output,
    stop: StopSignal,
    interval_seconds: float,
    duration_seconds: float | None,
    clock: Callable[[], float],
) -> None:
    poller = select.poll()
    for descriptor in (*agent.descriptors, stop.fileno()):
        poller.register(descriptor, select.POLLIN)
    end = None if duration_seconds is None else clock() + duration_seconds
    heart = Heart(agent, output, interval_seconds, clock)
    while not stop.is_set() and (end is None or clock() < end):
        seconds = heart.beat()
        if end is not None:
            seconds = min(seconds, end - clock())
        poller.poll(max(0.0, seconds) * 1000)
    heart.last_beat()


class Heart:
    """Does what is due, whenever it is called; whoever calls waits in between."""

    def __init__(
        self,
        agent: Agent | BlindAgent,
        output: Output,
        interval_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        on_pace: Callable[[str, bool], None] = lambda words, _: warn(words),
    ) -> None:
        """The first tick is due at once.

        Args:
            agent: that ticks.
            output: what is told.
            interval_seconds: between two ticks.
            clock: monotonic, in seconds.
            on_pace: called with words for people, and whether ticks come less often than they
                should, when that changes.
        """
        self._agent = agent
        self._output = output
        self._pacer = Pacer(interval_seconds)
        self._clock = clock
        self._on_pace = on_pace
        self._due = self._collected_s = clock()
        self.ticking = Ticking(interval_seconds)
        """How the ticks went."""

    def beat(self) -> float:
        """Take in what the kernel told, tick if it is time; seconds until more is due.

        Before that, too, as soon as one of the agent's descriptors is readable.
        """
        agent = self._agent
        self._output.on_happenings(agent.pipeline.handle_records())
        if agent.answers is not None:
            agent.answers.serve()
        if self._clock() >= self._due:
            self._tick()
            self._collect_garbage()
        wake = self._due
        look_due_ns = agent.pipeline.look_due_ns
        if look_due_ns is not None:
            wake = min(wake, look_due_ns / NANOSECONDS)
        return max(0.0, wake - self._clock())

    def set_interval(self, seconds: float) -> None:
        """From now on; no tick comes later for it than it would have."""
        self._pacer = Pacer(seconds)
        self.ticking.interval_seconds = seconds
        self._due = min(self._due, self._clock() + seconds)

    def last_beat(self) -> None:
        """A tick for what is left, told as the last."""
        self._output.on_happenings(self._agent.pipeline.handle_records())
        _tick(self._agent, self._output, is_last=True)

    def _tick(self) -> None:
        """The one that is due, and when the next one is: one that is late is not made up for."""
        began, ticking = self._clock(), self.ticking
        lag_seconds = began - self._due
        _tick(self._agent, self._output)
        ticking.last_s = ended = self._clock()
        ticking.ticks += 1
        ticking.tick_seconds, ticking.lag_seconds = ended - began, lag_seconds
        # The first tick reads all that there is.
        if ticking.ticks > 1 and self._pacer.on_tick(ticking.tick_seconds, lag_seconds):
            self._tell_pace()
        ticking.interval_seconds = interval_seconds = self._pacer.interval_seconds
        self._due += interval_seconds * (1 + max(0, int((ended - self._due) / interval_seconds)))

    def _collect_garbage(self) -> None:
        """See collect_garbage_seldom."""
        now = self._clock()
        if now - self._collected_s >= _GARBAGE_SECONDS:
            gc.collect()
            self._collected_s = now

    def _tell_pace(self) -> None:
        seconds, ticking = self._pacer.interval_seconds, self.ticking
        if self._pacer.is_slowed:
            words = (
                f"too little processor time for the interval (a tick takes "
                f"{ticking.tick_seconds:.2f} s and comes {ticking.lag_seconds:.2f} s late): "
                f"a sample every {seconds:g} s from now on"
            )
        else:
            words = f"a sample every {seconds:g} s again"
        self._on_pace(words, self._pacer.is_slowed)


async def drive(
    heart: Heart, agent: Agent | BlindAgent, wake: asyncio.Event, is_over: Callable[[], bool]
) -> None:
    """Beat in an event loop until it is over; then the last beat.

    Args:
        heart: of the agent.
        agent: whose descriptors are waited for.
        wake: ends the wait, to look whether it is over or something else is due.
        is_over: asked after each wait.
    """
    loop = asyncio.get_running_loop()
    descriptors = agent.descriptors
    for descriptor in descriptors:
        loop.add_reader(descriptor, wake.set)
    try:
        while not is_over():
            seconds = heart.beat()
            await set_or_later(wake, max(_LEAST_WAIT_SECONDS, seconds))
            wake.clear()
    finally:
        heart.last_beat()
        for descriptor in descriptors:
            loop.remove_reader(descriptor)


def _tick(agent: Agent | BlindAgent, output: Output, is_last: bool = False) -> None:
    output.on_happenings(agent.pipeline.handle_records())
    agent.before_tick()
    output.on_snapshot(agent.pipeline.tick(is_last))
    if agent.answers is not None:
        agent.answers.tick()


def collect_garbage_seldom() -> None:
    """Collect by the clock, between two ticks, instead of by the number of objects made.

    A tick makes thousands of tuples that reference counting alone gives back; searching them for
    cycles took up to a quarter of a tick at 10,000 cgroups.
    """
    gc.collect()
    gc.freeze()
    gc.disable()


@contextmanager
def before_others() -> Iterator[None]:
    """Run before others: in a fork bomb of thousands, a tick took six seconds without it."""
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    with suppress(OSError):  # without CAP_SYS_NICE it takes its turn
        os.setpriority(os.PRIO_PROCESS, 0, _HIGHEST_PRIORITY)
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, usual)
