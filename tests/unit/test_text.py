"""Text from strangers."""

from __future__ import annotations

import orjson
import pytest

from threadtrace.text import clean, decode, printable, shortened


@pytest.mark.parametrize(
    "hostile",
    [
        "\x1b[31mred\x1b[0m",
        "\x1b]0;title\x07",
        "two\nlines\r\tand more",
        "\x9b31m",  # the one-byte form of the escape sequence
        "\u202eright to left",
        "a\u0300\u0301",
        "\u200bzero width",
        "\udcff surrogate",
        "\x00",
    ],
)
def test_nothing_that_moves_a_cursor_stays(hostile: str) -> None:
    shown = printable(hostile)
    assert shown.isprintable()
    assert "\x1b" not in shown
    assert shown.isascii() or "\u202e" not in shown


@pytest.mark.parametrize(
    "harmless", ["java", "pool-1-thread-7", "größer", "線程", ".NET TP Worker"]
)
def test_harmless_text_stays(harmless: str) -> None:
    assert printable(harmless) == harmless


def test_what_is_cleaned_can_be_json() -> None:
    for text in (clean("caf\udce9"), decode(b"caf\xe9\xff")):
        assert orjson.loads(orjson.dumps(text)) == text
    assert clean("plain") == "plain"
    assert clean("größer") == "größer"


def test_shortened() -> None:
    assert shortened("abcdef", 6) == "abcdef"
    assert shortened("abcdef", 4) == "abc…"
    assert shortened("abcdef", 1) == "…"
