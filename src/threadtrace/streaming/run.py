"""One run of ``threadtrace stream``."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from threadtrace.agent import Agent, AgentOptions, start_agent
from threadtrace.delivery.destinations import outputs
from threadtrace.delivery.outputs import Outputs
from threadtrace.detect.toml_document import ConfigError
from threadtrace.errors import OutputError
from threadtrace.heart import Heart, before_others, collect_garbage_seldom, drive
from threadtrace.log import warn
from threadtrace.output.events import EventWriter
from threadtrace.output.fields import Fields
from threadtrace.output.filters import EventFilter, load_filters
from threadtrace.output.recording import recorded
from threadtrace.output.relay import connect_relay
from threadtrace.output.several import Several
from threadtrace.output.stream import EventStream
from threadtrace.questions import Renderers
from threadtrace.selfcare.own_cost import Ticking
from threadtrace.selfcare.service_manager import ServiceManager
from threadtrace.streaming.kept import KeptLines
from threadtrace.streaming.options import Streaming

if TYPE_CHECKING:
    from threadtrace.streaming.endpoints import Endpoints
    from threadtrace.streaming.server import AgentServer

_END_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_TERMINAL = "/dev/tty"
# How long a reader that does not read may hold up the end.
_FAREWELL_SECONDS = 2.0
_LOOK_SECONDS = 5.0


def stream(streaming: Streaming, options: AgentOptions) -> int:
    """Until a signal comes or the time is over; the exit code.

    Raises:
        ThreadtraceError: with the remedy.
        ReaderGone: nobody reads standard output any more.
    """
    hears_hangup = _take_hangup()
    rules = None if streaming.filters is None else load_filters(streaming.filters)
    sinks = outputs(streaming.outputs, streaming.buffer_bytes, streaming.rotation)
    with ExitStack() as stack:
        stack.callback(sinks.close)
        sinks.open()
        endpoints = None
        if streaming.listening.addresses:
            # Only where it is asked for: it doubles the agent's memory.
            from threadtrace.streaming.endpoints import Endpoints

            endpoints = Endpoints(streaming.listening, options.socket)
            stack.callback(endpoints.close)
        meanwhile = None if endpoints is None else _import_server
        agent = stack.enter_context(start_agent(options, meanwhile))
        run = _Run(
            streaming,
            agent,
            sinks,
            EventFilter(rules),
            endpoints,
            options.renderers,
            hears_hangup,
        )
        code = asyncio.run(run.main())
    lossy = [state for state in sinks.states if state.lost]
    if lossy:
        lost = ", ".join(f"{state.lost:,} events to {state.name}" for state in lossy)
        raise OutputError(
            f"could not be written: {lost}; make room there, read faster, or choose another "
            "--output"
        )
    return code


def _import_server() -> None:
    """It takes 0.2 s."""
    import threadtrace.streaming.server  # noqa: F401


class _Run:
    """One run of the agent as a stream."""

    def __init__(
        self,
        streaming: Streaming,
        agent: Agent,
        sinks: Outputs,
        admission: EventFilter,
        endpoints: Endpoints | None,
        renderers: Renderers | None,
        hears_hangup: bool,
    ) -> None:
        self._streaming = streaming
        self._agent = agent
        self._sinks = sinks
        self._admission = admission
        self._details: Fields = {
            **agent.details(),
            "interval_seconds": streaming.interval_seconds,
        }
        self._server: AgentServer | None = None
        if endpoints is not None and renderers is not None:
            from threadtrace.streaming.server import AgentServer

            most = streaming.listening.metrics_workloads
            self._server = AgentServer(endpoints, agent, renderers, self._details, most)
        self._manager = ServiceManager()
        self._hears_hangup = hears_hangup
        self._signal: int | None = None
        self._error: BaseException | None = None
        self._ends_s: float | None = None
        self._wake = asyncio.Event()

    async def main(self) -> int:
        """The exit code: 128 and the number of the signal that ended it."""
        try:
            return await self._main()
        finally:
            self._sinks.close()  # as long as there is a loop that they can leave
            if self._hears_hangup and not _has_terminal():
                # What is meant as a reload, in the last moment, must not be another end.
                asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
                signal.signal(signal.SIGHUP, signal.SIG_IGN)

    async def _main(self) -> int:
        streaming, agent, sinks, server = self._streaming, self._agent, self._sinks, self._server
        if streaming.duration_seconds is not None:
            self._ends_s = time.monotonic() + streaming.duration_seconds
            asyncio.get_running_loop().call_later(streaming.duration_seconds, self._wake.set)
        self._listen_for_signals()
        collect_garbage_seldom()
        sinks.start(self._wake.set)
        events = self._event_stream()
        relay = connect_relay(agent, self._details)
        told = Several([relay, events] if server is None else [relay, events, server])
        with (
            recorded(told, streaming.record_dir, agent, self._details) as shown,
            before_others(),
        ):
            heart = Heart(agent, shown, streaming.interval_seconds)
            if server is not None:
                await server.open(relay, heart.ticking, sinks)
            watch = asyncio.create_task(self._look_after(heart.ticking))
            watch.add_done_callback(self._on_watch_end)
            events.on_start(time.time_ns(), self._details)
            self._manager.ready()
            try:
                await drive(heart, agent, self._wake, self._is_over)
                events.on_end(time.time_ns())
            finally:
                self._manager.stopping()
                watch.cancel()
                await self._say_farewell()
        return 0 if self._signal is None else 128 + self._signal

    def _event_stream(self) -> EventStream:
        writer = EventWriter(counts_refusals=self._agent.counts_refusals, admission=self._admission)
        server = self._server
        sink = self._sinks if server is None else KeptLines(self._sinks, server.history)
        return EventStream(writer, sink, self._streaming.include_idle, self._admission)

    async def _say_farewell(self) -> None:
        if self._server is not None:
            await self._server.close()
        await self._sinks.finish(_FAREWELL_SECONDS)

    def _is_over(self) -> bool:
        """Asked whenever the loop wakes.

        Raises:
            ReaderGone: nobody reads any more.
            OutputError: an output cannot be written to any more.
        """
        self._sinks.flush()
        if self._error is not None:
            raise self._error
        return self._signal is not None or (
            self._ends_s is not None and time.monotonic() >= self._ends_s
        )

    async def _look_after(self, ticking: Ticking) -> None:
        """Tell the service manager that ticks come."""
        watchdog = self._manager.watchdog_seconds or _LOOK_SECONDS
        while True:
            await asyncio.sleep(min(_LOOK_SECONDS, watchdog / 3))
            if ticking.silence(time.monotonic()) is None:
                self._manager.alive()

    def _on_watch_end(self, watch: asyncio.Task[None]) -> None:
        if not watch.cancelled():
            self._error = watch.exception()
            self._wake.set()

    def _listen_for_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in _END_SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, self._end, number)
        if self._hears_hangup:
            reload_or_end = partial(self._end, signal.SIGHUP) if _has_terminal() else self._reload
            loop.add_signal_handler(signal.SIGHUP, reload_or_end)

    def _end(self, number: int) -> None:
        self._signal = self._signal or number
        self._wake.set()

    def _reload(self) -> None:
        """What cannot be used changes nothing."""
        self._manager.reloading()
        self._sinks.reopen()
        if self._server is not None:
            self._server.reload()
        path = self._streaming.filters
        if path is not None:
            try:
                self._admission.rules = load_filters(path)
                warn(f"{path} was read again")
            except ConfigError as error:
                warn(f"{error}; the filters stay as they were")
        self._manager.ready()


def _take_hangup() -> bool:
    """Whether SIGHUP is to be listened to, which it is not under nohup.

    Until that happens, what is meant as a reload must not be the end.
    """
    is_heard = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    if is_heard and not _has_terminal():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return is_heard


def _has_terminal() -> bool:
    """Whether a hang-up means that somebody went, and not that files are to be read again."""
    try:
        os.close(os.open(_TERMINAL, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
