"""Waiting in an event loop, for no longer than that.

Not by asyncio's wait_for: before Python 3.12, that one forgets that it was cancelled where what it
waits for is done at the same moment, and what was to end goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


class TooLate(Exception):
    """It took longer."""


async def within(seconds: float | None, awaited: Awaitable[T]) -> T:
    """What is awaited, however long it takes where that is None.

    Raises:
        TooLate: it takes longer than that.
    """
    task = asyncio.ensure_future(awaited)
    task.add_done_callback(_look_at)
    try:
        await asyncio.wait({task}, timeout=seconds)
        if task.done():
            return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
    raise TooLate


async def set_or_later(event: asyncio.Event, seconds: float) -> None:
    """Wait until the event is set, which it is after so long in any case."""
    timer = asyncio.get_running_loop().call_later(seconds, event.set)
    try:
        await event.wait()
    finally:
        timer.cancel()


def _look_at(task: asyncio.Future[T]) -> None:
    """Or asyncio complains of errors that nobody has seen, where nobody waits any more."""
    if not task.cancelled():
        task.exception()
