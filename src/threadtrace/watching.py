"""``threadtrace top``: which feed and which view fit, and how the one runs through the other."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from threadtrace.errors import NoFreePidError, OutputError
from threadtrace.feed import About, Feed
from threadtrace.log import warn
from threadtrace.screen.board import Choice
from threadtrace.screen.passing import Counted, Enough, WithoutFirst, be_enough
from threadtrace.screen.recording_words import recording_words
from threadtrace.screen.views import JsonView, PlainView, RefreshedView, View, is_terminal
from threadtrace.stopping import StopSignal

if TYPE_CHECKING:
    from threadtrace.agent import Agent, AgentOptions, BlindAgent
    from threadtrace.feed import Output
    from threadtrace.feeds.play_through import Played
    from threadtrace.feeds.transport import Access
    from threadtrace.tui.control import Control

_BLIND_NOTE = "no process can be started (a limit here is used up), so no kernel programs"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Watching:
    """What a user wants to see."""

    choice: Choice = field(default_factory=Choice)
    samples: int | None = None
    """After which it ends; None: not by itself."""
    is_batch: bool = False
    as_json: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether no keys are wanted, and no terminal."""
        return self.is_batch or self.as_json or not has_somebody_before_it()


def has_somebody_before_it() -> bool:
    """Whether somebody sits before standard output."""
    return sys.stdout is not None and sys.stdout.isatty()


def watch(
    watching: Watching, options: AgentOptions, interval_seconds: float, record_dir: str | None
) -> int:
    """This node; the exit code.

    Raises:
        ThreadtraceError: with the remedy.
    """
    from threadtrace.agent import BlindAgent, start_agent, start_pipeline_without_programs
    from threadtrace.feeds.live import about_blind, about_live

    with ExitStack() as stack:
        try:
            meanwhile = None if watching.is_plain else _import_view
            agent = stack.enter_context(start_agent(options, meanwhile))
        except NoFreePidError as error:
            if options.socket is not None and _answers(options):
                note = (
                    "no process can be started (a limit here is used up): the agent that runs here"
                )
                return watch_remote(watching, f"unix:{options.socket}", note)
            pipeline = stack.enter_context(start_pipeline_without_programs(options))
            blind = BlindAgent(pipeline)
            about = about_blind(str(error), interval_seconds)
            if record_dir is not None:
                warn(
                    "nothing is recorded: --record-dir needs kernel programs, which need a free PID"
                )
            return _watch_agent(watching, blind, about, _as_it_is)
        about = about_live(agent, interval_seconds)
        return _watch_agent(
            watching, agent, about, lambda output: _told(output, agent, about, record_dir)
        )


def _import_view() -> None:
    """It takes 0.3 s."""
    import threadtrace.tui.app  # noqa: F401


def watch_remote(watching: Watching, url: str, note: str = "", access: Access | None = None) -> int:
    """An agent that runs elsewhere; the exit code.

    Args:
        watching: what of it.
        url: see ``feeds.address.parse_address``.
        note: for people, beside what is shown.
        access: what an HTTP server demands.

    Raises:
        ThreadtraceError: with the remedy.
    """
    from threadtrace.feeds.remote import Remote
    from threadtrace.feeds.transport import NO_ACCESS

    remote = Remote(url, access or NO_ACCESS)

    def control() -> Control:
        from threadtrace.tui.control import RemoteControl

        return RemoteControl(remote, url, note)

    return _watch_feed(watching, remote, control, f"agent at {url}", note)


def watch_recording(watching: Watching, path: str, node: str | None, speed: float) -> int:
    """What was recorded; the exit code.

    Raises:
        ThreadtraceError: with the remedy.
    """
    from threadtrace.feeds.play_through import play_through
    from threadtrace.feeds.replay import Replay

    if watching.is_plain:
        return _play_through(watching, path, node, play_through)
    replay = Replay(path, node)
    replay.speed = speed

    def control() -> Control:
        from threadtrace.tui.control import ReplayControl

        return ReplayControl(replay, os.path.basename(path))

    with closing(replay):
        return _watch_feed(watching, replay, control, f"replay of {path}", "")


def _play_through(
    watching: Watching, path: str, node: str | None, play: Callable[..., Played]
) -> int:
    """As fast as it can be written: every sample, the first ones, or (of one) the last."""
    stop = StopSignal()
    with stop, _plain_view(watching, f"replay of {path}", "", stop.is_set) as view:
        only_last = watching.samples == 1
        view.is_silent = only_last
        samples = None if only_last else watching.samples
        played = None
        with suppress(Enough):
            played = play(path, Counted(view, samples, be_enough, stop.is_set), node)
        if only_last:
            view.show()
    if played is not None:
        for words in recording_words(*played):
            warn(f"{path}: {words}")
    return _ended(view, stop.exit_code)


def _answers(options: AgentOptions) -> bool:
    from threadtrace.asking import ask

    assert options.socket is not None
    return ask(options.socket) is not None


def _as_it_is(output: Output) -> AbstractContextManager[Output]:
    from contextlib import nullcontext

    return nullcontext(output)


def _told(
    output: Output, agent: Agent, about: About, record_dir: str | None
) -> AbstractContextManager[Output]:
    """With who listens at the agent's socket, and the flight recorder, beside it."""
    from threadtrace.output.recording import recorded
    from threadtrace.output.relay import relayed

    details = {**agent.details(), "interval_seconds": about.interval_seconds}
    return recorded(relayed(output, agent, details), record_dir, agent, details)


_Wrap = Callable[["Output"], "AbstractContextManager[Output]"]


def _watch_agent(watching: Watching, agent: Agent | BlindAgent, about: About, wrap: _Wrap) -> int:
    from threadtrace.feeds.live import Live
    from threadtrace.heart import before_others, run

    assert about.interval_seconds is not None
    words = "live" if about.counts_births else "from files alone"
    why_plain = _why_plain(watching)
    if why_plain is None:
        from threadtrace.tui.control import LiveControl

        live = Live(agent, about, about.interval_seconds)
        note = "" if about.counts_births else _BLIND_NOTE
        with before_others():
            return _run_app(watching, live, LiveControl(live, words, note), wrap, live.pass_through)
    samples = watching.samples
    duration = None if samples is None else samples * about.interval_seconds
    stop = StopSignal()
    with stop, _plain_view(watching, words, why_plain, stop.is_set) as view:
        view.on_start(about)
        # The first tick tells what was there before the start: no interval, no sample.
        shown = view if samples is None else WithoutFirst(view)
        with wrap(shown) as output:
            run(agent, output, stop, about.interval_seconds, duration)
    return _ended(view, stop.exit_code)


def _watch_feed(
    watching: Watching, feed: Feed, control: Callable[[], Control], words: str, note: str
) -> int:
    why_plain = _why_plain(watching)
    if why_plain is None:
        return _run_app(watching, feed, control(), _as_it_is)
    notes = "; ".join(text for text in (why_plain, note) if text)
    stopper = _Stopper()
    with _plain_view(watching, words, notes, stopper.is_set) as view:
        counted = Counted(view, watching.samples, stopper.stop)
        asyncio.run(_until_stopped(feed, counted, stopper))
    return _ended(view, stopper.exit_code)


def _run_app(
    watching: Watching,
    feed: Feed,
    control: Control,
    wrap: _Wrap,
    pass_through: Callable[[Output], None] | None = None,
) -> int:
    from threadtrace.tui.app import TopApp

    app = TopApp(feed, control, watching.choice)
    with wrap(app) as output:
        if pass_through is not None:
            pass_through(output)
        gc.collect()
        gc.freeze()
        try:
            asyncio.run(app.run_until_signalled())
        finally:
            app.release_terminal()
    if app.error is not None:
        raise app.error
    return os.EX_OK if app.signal_number is None else 128 + app.signal_number


def _why_plain(watching: Watching) -> str | None:
    """Why there is no live view, in words for people, empty where they know; None: there is."""
    if watching.is_plain:
        return ""
    if not is_terminal():
        return f"plain tables: TERM={os.environ.get('TERM', '')} cannot be drawn on"
    if sys.stdin is None or not sys.stdin.isatty():
        return "plain table: standard input is no terminal, so there are no keys; Ctrl-C ends it"
    try:
        import threadtrace.tui.app  # noqa: F401
    except ImportError as error:
        return f"plain table: the live view needs Textual ({error}): pip install threadtrace"
    return None


def _plain_view(watching: Watching, words: str, note: str, is_stopping: Callable[[], bool]) -> View:
    notes = [note] if note else []
    if watching.as_json:
        return JsonView(watching.choice, is_stopping)
    if watching.is_batch or not is_terminal():
        return PlainView(watching.choice, words, notes)
    return RefreshedView(watching.choice, words, notes)


def _ended(view: View, exit_code: int) -> int:
    if view.lost_lines:
        raise OutputError(f"{view.lost_lines:,} samples could not be written to standard output")
    return exit_code


class _Stopper:
    """Ends what an event loop runs, by a signal or because it is enough."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.exit_code = os.EX_OK

    def is_set(self) -> bool:
        return self._event.is_set()

    def stop(self, number: int | None = None) -> None:
        if number is not None and not self._event.is_set():
            self.exit_code = 128 + number
        self._event.set()

    async def wait(self) -> None:
        await self._event.wait()


async def _until_stopped(feed: Feed, output: Counted, stopper: _Stopper) -> None:
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            loop.add_signal_handler(number, stopper.stop, number)
    running = loop.create_task(feed.run(output))
    waiting = loop.create_task(stopper.wait())
    await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if running.done():
        running.result()
        return
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
