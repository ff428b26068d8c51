"""Terminals without UTF-8 see the same columns, drawn with plain characters."""

from __future__ import annotations

import pytest
from rich.cells import cell_len
from screen_builders import HOSTILE

from threadtrace.screen.encoding import NEAREST, known_encoding
from threadtrace.screen.figures import bar, plot, sparkline, squeezed


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "koi8-r", "cp437", "euc-jp"])
def test_columns_stay_where_they_are(encoding: str) -> None:
    drawn = [bar(0.61, 20), sparkline([0, 1, 2, 3, 4, 5, 6, 7, 8], 9), *plot([1, 5], 2, 3)]
    drawn += ["▾ ▸ ▼▲ … → ← ↑ ↓ ─│┌"]
    for text in drawn + [squeezed(name, 30) for name in HOSTILE.values()]:
        plain = text.encode(encoding, NEAREST).decode(encoding)
        # A flag is one picture to those who can draw it, two letters to others.
        if "🇩" not in text and "🏽" not in text:
            assert cell_len(plain) == cell_len(text)


def test_nothing_that_the_view_draws_becomes_a_question_mark() -> None:
    drawn = bar(0.33, 30) + sparkline(range(9), 9) + "▾▸▼▲…" + bar(0.5, 7)
    for eighth in range(9):
        drawn += bar(eighth / 8 + 0.01, 1)
    assert b"?" not in drawn.encode("ascii", NEAREST)


def test_a_sparkline_still_rises() -> None:
    assert sparkline(list(range(1, 9)), 8).encode("ascii", NEAREST) == b"__.-=+*#"


def test_what_has_no_neighbour_is_told_by_its_width() -> None:
    assert "日é".encode("ascii", NEAREST) == b"???"
    assert "é".encode("latin-1", NEAREST) == b"\xe9"


def test_other_errors_are_not_hidden() -> None:
    with pytest.raises(AssertionError):
        b"\xff".decode("utf-8", NEAREST)


def test_an_encoding_that_python_does_not_know_is_ascii() -> None:
    assert known_encoding("UTF8") == "utf-8"
    assert (
        known_encoding(None) == known_encoding("no-such-encoding") == known_encoding("") == "ascii"
    )
