"""Numbers, bars and names have the width that is asked for, and never tell what is not so."""

from __future__ import annotations

import math
import random

import pytest
from rich.cells import cell_len
from screen_builders import HOSTILE, assert_shown

from threadtrace.screen import figures
from threadtrace.text import printable

NAN, INFINITE = math.nan, math.inf
SIZES = (0, 1, 9, 10, 99, 100, 999, 9_999, 10_000, 99_949, 99_950, 999_499, 999_500, 999_999)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (0, "0"),
        (9_999, "9,999"),
        (10_000, "10.0k"),
        (99_950, "100k"),
        (999_499, "999k"),
        (999_500, "1.00M"),
        (999_999, "1.00M"),
        (1_545_000, "1.54M"),
        (10**7, "10.0M"),
        (999_600_000, "1.00G"),
        (-10_500, "-10.5k"),
        (2**63, "9.22E"),
    ],
)
def test_a_short_count(value: int | None, shown: str) -> None:
    assert figures.short_count(value) == shown


def test_a_short_count_has_five_characters() -> None:
    for exponent in range(13):
        for value in SIZES:
            assert len(figures.short_count(value * 10**exponent)) <= 5


def test_a_count_tells_unknown_from_none() -> None:
    assert figures.count(None) == "-"
    assert figures.count(0) == "0"
    assert figures.count(31_635) == "31,635"


@pytest.mark.parametrize(
    ("value", "sign", "shown"),
    [
        (None, "", "-"),
        (0.0, "+", "-"),
        (0.04, "", "-"),
        (-0.04, "+", "-"),
        (0.3, "", "0.3"),
        (45, "+", "+45.0"),
        (99.96, "", "100"),
        (1_203.4, "", "1,203"),
        (9_999.7, "+", "+10.0k"),
        (-0.3, "+", "-0.3"),
        (-166.4, "+", "-166"),
        (-12_345, "+", "-12.3k"),
        (4e6, "+", "+4.00M"),
        (NAN, "", "-"),
        (INFINITE, "", "-"),
        (-INFINITE, "+", "-"),
    ],
)
def test_a_rate(value: float | None, sign: str, shown: str) -> None:
    assert figures.rate(value, sign) == shown


def test_a_rate_fits_its_column_with_its_sign() -> None:
    for size in SIZES:
        for part in (0.0, 0.04, 0.5, 0.94, 0.96):
            assert len(figures.rate(size + part)) <= 6
            assert len(figures.rate(size + part, "+")) <= 7
            assert len(figures.rate(-size - part, "+")) <= 7


def test_a_rate_of_nothing_in_a_sentence() -> None:
    assert figures.rate_in_words(0.0) == "0/s"
    assert figures.rate_in_words(-0.01, "+") == "0/s"
    assert figures.rate_in_words(45.0, "+") == "+45.0/s"
    assert figures.rate_in_words(None) == "-", "unknown is not 0"
    assert figures.rate_in_words(NAN) == "-"


@pytest.mark.parametrize(
    ("ratio", "shown"),
    [
        (None, "-"),
        (NAN, "-"),
        (0.0, "0%"),
        (0.0001, "<1%"),
        (0.97, "97%"),
        (0.995, "99%"),
        (0.99999, "99%"),
        (1.0, "100%"),
        (1.5, "150%"),
        (9.99, "999%"),
        (10_000.0, ">999%"),
        (INFINITE, ">999%"),
    ],
)
def test_a_share_is_100_percent_only_when_all_is_used(ratio: float | None, shown: str) -> None:
    assert figures.share(ratio) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "-"),
        (NAN, "-"),
        (0.0, "0.0s"),
        (-5.0, "0.0s"),
        (0.44, "0.4s"),
        (9.96, "10s"),
        (43, "43s"),
        (720, "12m"),
        (18_000, "5h"),
        (260_000, "3d"),
        (1e15, "99999d"),
        (INFINITE, "99999d"),
    ],
)
def test_a_duration(seconds: float | None, shown: str) -> None:
    assert figures.duration(seconds) == shown
    assert len(figures.duration(seconds)) <= 6


@pytest.mark.parametrize("ratio", [None, NAN, -1.0, 0.0, 0.001, 0.5, 0.999999, 1.0, 7.0, INFINITE])
@pytest.mark.parametrize("width", [0, 1, 10, 60])
def test_a_bar_is_as_wide_as_asked_for(ratio: float | None, width: int) -> None:
    assert cell_len(figures.bar(ratio, width)) == width


def test_a_bar_is_full_only_when_all_is_used() -> None:
    assert figures.bar(0.99999, 10) != figures.bar(1.0, 10) == "█" * 10
    assert figures.bar(1e9, 10) == "█" * 10


def test_a_sparkline_keeps_peaks_and_gaps() -> None:
    values = [None] * 60 + [0.0] * 30 + [5.0] + [0.0] * 28 + [10.0]
    line = figures.sparkline(values, 40)
    assert len(line) == 40
    assert line[:20] == " " * 20, "where nothing is known nothing stands"
    assert line[-1] == "█"
    assert "▄" in line, "one second of many in a cell is seen"


@pytest.mark.parametrize("bad", [NAN, INFINITE, -INFINITE, -3.0])
def test_lines_and_plots_survive_any_value(bad: float) -> None:
    for values in ([bad], [bad, 1.0, None], [None, bad] * 100):
        for width in (0, 1, 7, 120):
            assert len(figures.sparkline(values, width)) == width
            assert [len(line) for line in figures.plot(values, width, 4)] == [width] * 4


def test_a_plot_stands_on_zero() -> None:
    top, *_, bottom = figures.plot([0.0, 1.0, 100.0, None], 4, 4)
    assert top == "  █ "
    assert bottom == "▁▁█ ", "what is little is more than nothing known"


@pytest.mark.parametrize("width", [0, 1, 5, 6, 20, 120])
def test_below_a_plot_its_time_stands(width: int) -> None:
    axis = figures.time_axis(2, width)
    assert len(axis) == width
    if width > 5:
        assert axis.startswith("-2m")
        assert axis.endswith("now")


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_any_name_can_be_squeezed_into_any_width(name: str) -> None:
    for text in (name, f"shop/{name}/web", f"{name}/{name}/{name}"):
        for width in range(1, 120):
            assert_shown(figures.squeezed(text, width), width)


def test_names_of_any_characters() -> None:
    chance = random.Random(2)
    alphabet = "ab/-. 日本容🚀🏽🇩\u0301\u200d\u1112\u1161\u11ab\udcff\x1b\n\ufffd\u0e33\u3099"
    for _ in range(2_000):
        text = "".join(chance.choices(alphabet, k=chance.randrange(60)))
        width = chance.randrange(1, 40)
        assert_shown(figures.squeezed(text, width), width)
        for line in figures.wrapped(text, width, 3):
            assert_shown(line, width)
        assert cell_len(figures.fitted(printable(text), width)) == width
        assert cell_len(figures.right(printable(text), width)) == width


def test_a_pod_gives_way_before_its_namespace_and_container() -> None:
    name = f"shop/{'checkout' * 30}/web"
    for width in range(15, 60):
        short = figures.squeezed(name, width)
        assert short.startswith("shop/")
        assert short.endswith("/web")
        assert "…" in short
    assert figures.squeezed("shop/web/c", 10) == "shop/web/c"


def test_cut_in_the_middle_both_ends_tell() -> None:
    assert figures.squeezed("abcdefghijklmnop", 10) == "abcdef…nop"


def test_fitted_text_is_as_wide_as_asked_for() -> None:
    assert figures.fitted("abc", 5) == "abc  "
    assert figures.fitted("abcdef", 5) == "abcd…"
    assert figures.fitted("日本語", 5) == "日本…"
    assert figures.fitted("日本語", 4) == "日 …"
    assert figures.right("1", 3) == "  1"
    assert figures.right("12345", 3) == "12…"
    assert figures.fitted("a", 0) == figures.right("a", 0) == ""


def test_text_is_wrapped_between_words_and_cut_where_lines_end() -> None:
    assert figures.wrapped("one two three", 7, 5) == ["one two", "three"]
    assert figures.wrapped("one two three", 7, 1) == ["one tw…"]
    assert figures.wrapped("abcdefghij", 4, 5) == ["abcd", "efgh", "ij"]
    assert figures.wrapped("", 4, 2) == [""]
    assert figures.wrapped("one", 4, 0) == []
