"""When the live view searches for garbage: never where a key would have to wait for it."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable

_GARBAGE_SECONDS = 10.0
_OLD_GARBAGE_SECONDS = 30.0
_LONGEST_GARBAGE_SECONDS = 600.0
_TYPING_SECONDS = 5.0
_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0
_LOOK_SECONDS = 0.05


async def collect_garbage_seldom(typed_s: Callable[[], float]) -> None:
    """By the clock instead of by the number of objects made, which is thousands a tick.

    These hold no cycles. Searching them for some took 20 to 35 ms a tick at 5,000 workloads, and a
    key that came then waited. So what was searched once is left alone (``gc.freeze``): only what
    came since is looked at. Circles that were closed later are found while nobody types.

    Args:
        typed_s: when the last key came, monotonic.
    """
    gc.disable()
    try:
        searched_s = time.monotonic()
        while True:
            await asyncio.sleep(_GARBAGE_SECONDS)
            await _pause_in_typing(typed_s)
            now_s = time.monotonic()
            waits_s = now_s - searched_s
            is_typing = now_s - typed_s() < _TYPING_SECONDS
            if waits_s >= (_LONGEST_GARBAGE_SECONDS if is_typing else _OLD_GARBAGE_SECONDS):
                gc.unfreeze()
                searched_s = now_s
            gc.collect()
            gc.freeze()
    finally:
        gc.unfreeze()
        gc.enable()


async def _pause_in_typing(typed_s: Callable[[], float]) -> None:
    """Until the last key has its picture, and the next is not there yet."""
    until_s = time.monotonic() + _LONGEST_PAUSE_SECONDS
    while (now_s := time.monotonic()) < until_s and now_s - typed_s() < _PAUSE_SECONDS:
        await asyncio.sleep(_LOOK_SECONDS)
