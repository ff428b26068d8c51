"""Keys, clicks and resizes in any order and faster than anybody types: nothing of it is a bug."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from support.stream import THREADTRACE
from support.terminal import Terminal

NIGHT = Path(__file__).parents[2] / "docs/examples/night.jsonl.gz"
KEYS = [
    *(bytes([code]) for code in b"jkgGestuyI/ha?,.[]{}<>nN +-\r\t\x1b\x7f"),
    *(b"\x1b[A", b"\x1b[B", b"\x1b[C", b"\x1b[D", b"\x1b[5~", b"\x1b[6~", b"\x1bOP", b"\x1b[17~"),
    # A click, on a row or a heading, and the wheel.
    *(b"\x1b[<0;10;12M\x1b[<0;10;12m", b"\x1b[<0;30;9M\x1b[<0;30;9m"),
    *(b"\x1b[<64;10;12M", b"\x1b[<65;10;12M"),
]


@pytest.mark.parametrize("seed", range(6))
def test_any_keys(host: None, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    live = ["--interval", "0.05", "--socket", str(tmp_path / "socket")]
    source = live if seed % 2 else ["--replay", str(NIGHT)]
    with Terminal([*THREADTRACE, "top", *source], 30, 110) as terminal:
        terminal.wait_for(lambda out: b"WORKLOAD" in out, "a frame")
        for burst in range(12):
            drawn = len(terminal.output)
            for _ in range(25):
                terminal.press(chance.choice(KEYS))
            terminal.resize(chance.randint(1, 50), chance.randint(1, 200))
            if burst % 3 == 0:  # catches up, or is pressed on
                terminal.wait_for(lambda out, drawn=drawn: len(out) > drawn, "another frame")
        terminal.press(b"\x03")
        assert terminal.end() == 130, terminal.output[-2000:]
        assert terminal.is_as_before()


@pytest.mark.parametrize("before", [b"\x1b", b"\x1b\x1b", b"\x1b[", b"\x1bO", b"\x1b[<0;1"])
def test_ctrl_c_after_the_beginning_of_another_key(before: bytes) -> None:
    with Terminal([*THREADTRACE, "top", "--replay", str(NIGHT)]) as terminal:
        terminal.wait_for(lambda out: b"WORKLOAD" in out, "a frame")
        terminal.press(before + b"\x03")
        assert terminal.end() == 130
