"""Pictures of the live view, of a recording that stands still, as text: tests/data/screens.

THREADTRACE_UPDATE_SCREENS=1 writes them anew: look at them before they are committed.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from threadtrace.feeds.replay import Replay
from threadtrace.screen.board import Choice
from threadtrace.tui.app import TopApp
from threadtrace.tui.control import ReplayControl

TOP = Path(__file__).parents[2]
RECORDING = TOP / "docs/examples/night.jsonl.gz"
SCREENS = TOP / "tests/data/screens"
GROWING_SECONDS, REFUSED_SECONDS = 72.5, 112.5

VIEWS = {
    "workloads": (REFUSED_SECONDS, ()),
    "growing": (GROWING_SECONDS, ()),
    "tree": (REFUSED_SECONDS, ("t",)),
    "workload": (REFUSED_SECONDS, ("enter",)),
    "process": (REFUSED_SECONDS, ("enter", "enter")),
    "events": (REFUSED_SECONDS, ("e",)),
    "sort": (REFUSED_SECONDS, ("s",)),
    "filter": (REFUSED_SECONDS, ("slash", *"ns:shop", "enter")),
    "help": (GROWING_SECONDS, ("question_mark",)),
}


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (120, 30), (200, 50)])
@pytest.mark.parametrize("name", VIEWS)
def test_picture(name: str, columns: int, rows: int) -> None:
    seconds, keys = VIEWS[name]
    screen = asyncio.run(shown(columns, rows, seconds, keys))
    expected = SCREENS / f"{name}-{columns}.txt"
    if os.environ.get("THREADTRACE_UPDATE_SCREENS"):
        expected.write_text(screen)
    assert screen == expected.read_text()


async def shown(columns: int, rows: int, seconds: float, keys: tuple[str, ...]) -> str:
    """The screen as text, at that time of the recording, after these keys."""
    replay = Replay(str(RECORDING))
    app = TopApp(replay, ReplayControl(replay, RECORDING.name), Choice(), is_headless=True)
    async with app.run_test(size=(columns, rows)) as pilot:
        await until(lambda: replay.is_indexed and app.board.ticks > 0, pilot.pause)
        replay.is_paused = True
        replay.seek(seconds)

        def is_there() -> bool:
            shot = app.board.snapshot
            if shot is None or replay.start_ns is None:
                return False
            return (shot.time_ns - replay.start_ns) / 1e9 >= seconds - 1.0

        await until(is_there, pilot.pause)
        for key in keys:
            await pilot.press(key)
            await pilot.pause()
        app.draw()
        await pilot.pause()
        strips = app.screen._compositor.render_strips()
    return "".join(f"{strip.text.rstrip()}\n" for strip in strips)


async def until(condition: Callable[[], bool], pause: Callable[[], Awaitable[None]]) -> None:
    end = time.monotonic() + 30
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError
        await pause()
