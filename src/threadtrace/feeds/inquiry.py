"""How ``threadtrace why --connect`` asks an agent elsewhere: once, or again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from threadtrace.asking import NEEDED
from threadtrace.errors import UnavailableError
from threadtrace.feeds.transport import Answer, Broken, Transport, nobody_answers, within
from threadtrace.log import warn
from threadtrace.stopping import StopSignal

# An agent elsewhere may be behind a slow line, and there is nobody else to ask.
_PATIENCE_SECONDS = 15.0


def ask_elsewhere(
    transport: Transport,
    show: Callable[[Answer], None],
    watch_seconds: float | None,
    stop: StopSignal,
) -> None:
    """Show what an agent elsewhere answers, again and again where a time is given.

    Whoever is asked there has 15 seconds for a whole answer. Once one has come, a later one that
    does not is a warning, so that an agent that starts again is watched further.

    Args:
        transport: to the agent; closed at the end.
        show: takes each answer; may raise UnavailableError for one that it cannot show.
        watch_seconds: between two answers; None: one is enough.
        stop: ends it.

    Raises:
        UnavailableError: the first answer did not come; with the remedy.
    """

    async def until_stopped() -> None:
        loop = asyncio.get_running_loop()
        asking = loop.create_task(_ask_again_and_again(transport, show, watch_seconds))

        def end() -> None:
            loop.remove_reader(stop.fileno())
            asking.cancel()

        loop.add_reader(stop.fileno(), end)
        try:
            with suppress(asyncio.CancelledError):
                await asking
        finally:
            loop.remove_reader(stop.fileno())

    asyncio.run(until_stopped())


async def _ask_again_and_again(
    transport: Transport, show: Callable[[Answer], None], watch_seconds: float | None
) -> None:
    was_answered = False
    try:
        while True:
            try:
                show(await _answer_of(transport))
                was_answered = True
            except UnavailableError as error:
                if not was_answered:
                    raise
                warn(f"{error}; asked again in {watch_seconds:g} s")
            if watch_seconds is None:
                return
            await asyncio.sleep(watch_seconds)
    finally:
        await transport.close()


async def _answer_of(transport: Transport) -> Answer:
    """What the agent there answers to ``why``.

    Raises:
        UnavailableError: nothing, or in another shape than this version shows; with the remedy.
    """
    patience = _PATIENCE_SECONDS
    slow = f"it did not answer within {patience:g} s"
    try:
        answer = await within(patience, transport.ask({"get": "why"}), slow)
    except (OSError, Broken) as error:
        raise UnavailableError(nobody_answers(transport, "answer", error)) from None
    if not answer.keys() >= NEEDED:
        raise UnavailableError(other_version(transport.address))
    return answer


def other_version(address: str) -> str:
    """What to say of an answer that cannot be shown."""
    return (
        f"what answers at {address} is no agent of threadtrace, or of another version: bring both "
        "to the same"
    )
