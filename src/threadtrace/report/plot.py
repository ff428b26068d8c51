"""Plots as SVG to stand within an HTML page: no script, no style but classes of the page.

Every text passes through ``Markup`` formatting, which escapes it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from markupsafe import Markup

from threadtrace.report.model import Instant, Layer, Mark, RefusalPlot, TaskPlot
from threadtrace.report.words import short_name, short_time

_WIDTH = 960
_LEFT, _RIGHT, _BOTTOM = 78, 20, 44
_NS = 1_000_000_000
_MIN_NUMBERED_HEIGHT = 15
_MARK_LINE = 14

# Seconds between two labels of the time axis.
_TIME_STEPS = (
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400,
)  # fmt: skip


class _Frame(NamedTuple):
    """Where values stand: from data to pixels."""

    first_ns: int
    last_ns: int
    highest: float
    top: int
    height: int

    @property
    def foot(self) -> float:
        return self.height - _BOTTOM

    def x(self, time_ns: int) -> float:
        span = max(1, self.last_ns - self.first_ns)
        return round(_LEFT + (time_ns - self.first_ns) / span * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(self, value: float) -> float:
        return round(self.foot - value / self.highest * (self.foot - self.top), 1)


def task_svg(plot: TaskPlot) -> Markup:
    """Layers stacked from the first, the limits as dashed lines, instants as thin ones."""
    stacks = _stacked([layer.tasks for layer in plot.layers])
    highest = max([*stacks[-1], *(mark.value for mark in plot.limits), 1])
    top = 12 + _MARK_LINE * len(plot.instants)
    frame = _Frame(plot.times_ns[0], plot.times_ns[-1], _round_up(highest * 1.06), top, 400)
    parts = [*_axes(frame, "tasks")]
    floor: Sequence[float] = [0.0] * len(plot.times_ns)
    for number, (layer, ceiling) in enumerate(zip(plot.layers, stacks)):
        parts.append(_area(frame, plot.times_ns, floor, ceiling, number, layer))
        floor = ceiling
    parts += _numbers(frame, plot.times_ns, stacks)
    parts += [_limit(frame, mark) for mark in plot.limits]
    parts += _instants(frame, plot.instants)
    return _svg(frame, plot.title, parts)


def refusal_svg(plot: RefusalPlot, instants: Sequence[Instant]) -> Markup:
    """One bar a sample."""
    rates = [rate or 0 for rate in plot.refused_per_second]
    frame = _Frame(plot.times_ns[0], plot.times_ns[-1], _round_up(max(rates) * 1.06), 12, 190)
    bar = max(1.0, (_WIDTH - _LEFT - _RIGHT) / max(1, len(rates)) * 0.8)
    parts = [*_axes(frame, "refused / s")]
    for time_ns, rate in zip(plot.times_ns, rates):
        if rate:
            x = min(max(frame.x(time_ns) - bar / 2, _LEFT), _WIDTH - _RIGHT - bar)
            parts.append(
                Markup(
                    '<rect class="bar" x="{:.1f}" y="{}" width="{:.1f}" height="{:.1f}"/>'
                ).format(x, frame.y(rate), bar, frame.foot - frame.y(rate))
            )
    parts += [_instant_line(frame, mark) for mark in instants]
    return _svg(frame, "Refused clones a second on the node", parts)


def layer_class(number: int, layer: Layer) -> str:
    """The class that colours a layer: one of seven, grey for all others."""
    return "other" if layer.is_rest else f"layer{number % 7}"


def _svg(frame: _Frame, title: str, parts: Iterable[Markup]) -> Markup:
    head = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(
        _WIDTH, frame.height, title
    )
    return head + Markup("").join(parts) + Markup("</svg>")


def _stacked(layers: Sequence[Sequence[int | None]]) -> list[list[float]]:
    """The upper edge of each layer; what is not known adds nothing."""
    stacks: list[list[float]] = []
    for layer in layers:
        below = stacks[-1] if stacks else [0.0] * len(layer)
        stacks.append([under + (tasks or 0) for under, tasks in zip(below, layer)])
    return stacks


def _area(
    frame: _Frame,
    times_ns: Sequence[int],
    floor: Sequence[float],
    ceiling: Sequence[float],
    number: int,
    layer: Layer,
) -> Markup:
    upper = [f"{frame.x(at)},{frame.y(value)}" for at, value in zip(times_ns, ceiling)]
    lower = [f"{frame.x(at)},{frame.y(value)}" for at, value in zip(times_ns, floor)]
    return Markup('<polygon class="{}" points="{}"><title>{}</title></polygon>').format(
        layer_class(number, layer), " ".join([*upper, *reversed(lower)]), short_name(layer.name)
    )


def _numbers(
    frame: _Frame, times_ns: Sequence[int], stacks: Sequence[Sequence[float]]
) -> Iterator[Markup]:
    """The number of each layer where it is thickest, for who cannot tell the colours."""
    floor: Sequence[float] = [0.0] * len(times_ns)
    for number, ceiling in enumerate(stacks, 1):
        at = _thick_place([upper - lower for upper, lower in zip(ceiling, floor)])
        top, foot = frame.y(ceiling[at]), frame.y(floor[at])
        if foot - top >= _MIN_NUMBERED_HEIGHT:
            x = min(max(frame.x(times_ns[at]), _LEFT + 14), _WIDTH - _RIGHT - 14)
            yield Markup('<text class="number" x="{}" y="{:.1f}">{}</text>').format(
                x, (top + foot) / 2 + 4, number
            )
        floor = ceiling


def _thick_place(heights: Sequence[float]) -> int:
    """The middle of where it is about as thick as anywhere."""
    enough = 0.95 * max(heights)
    places = [at for at, height in enumerate(heights) if height >= enough]
    return places[len(places) // 2]


def _limit(frame: _Frame, mark: Mark) -> Markup:
    y = frame.y(mark.value)
    return Markup(
        '<line class="limit" x1="{}" x2="{}" y1="{}" y2="{}"/>'
        '<text class="limit-label" x="{}" y="{}">{}</text>'
    ).format(_LEFT, _WIDTH - _RIGHT, y, y, _LEFT + 6, y - 5, short_name(mark.label, 90))


def _instants(frame: _Frame, marks: Sequence[Instant]) -> Iterator[Markup]:
    for row, mark in enumerate(marks):
        yield _instant_line(frame, mark)
        x = frame.x(mark.time_ns)
        if not _LEFT <= x <= _WIDTH - _RIGHT:
            continue
        is_left = x < _WIDTH * 0.75
        yield Markup('<text class="instant-label" x="{}" y="{}" text-anchor="{}">{}</text>').format(
            x + (5 if is_left else -5), 12 + row * _MARK_LINE, "start" if is_left else "end",
            mark.label,
        )  # fmt: skip


def _instant_line(frame: _Frame, mark: Instant) -> Markup:
    x = frame.x(mark.time_ns)
    if not _LEFT <= x <= _WIDTH - _RIGHT:
        return Markup("")
    return Markup('<line class="instant" x1="{}" x2="{}" y1="4" y2="{}"/>').format(x, x, frame.foot)


def _axes(frame: _Frame, unit: str) -> Iterator[Markup]:
    step = _nice_step(frame.highest)
    for index in range(math.floor(frame.highest / step) + 1):
        value = index * step
        yield Markup(
            '<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>'
            '<text class="tick" x="{}" y="{}" text-anchor="end">{}</text>'
        ).format(
            _LEFT, _WIDTH - _RIGHT, frame.y(value), frame.y(value), _LEFT - 6, frame.y(value) + 4,
            f"{value:,.0f}" if step >= 1 else f"{value:.1f}",
        )  # fmt: skip
    middle = (frame.top + frame.foot) / 2
    yield Markup('<text class="unit" x="14" y="{}" transform="rotate(-90 14 {})">{}</text>').format(
        middle, middle, unit
    )
    yield from _time_axis(frame)


def _time_axis(frame: _Frame) -> Iterator[Markup]:
    span = max(1, (frame.last_ns - frame.first_ns) // _NS)
    step = next((step for step in _TIME_STEPS if span / step <= 8), None)
    if step is None:
        step = math.ceil(span / 8 / 86_400) * 86_400
    tick = -(-frame.first_ns // (step * _NS)) * step * _NS
    while tick <= frame.last_ns:
        label = short_time(tick, (frame.first_ns, frame.last_ns))
        is_at_edge = frame.x(tick) > _WIDTH - 4 * len(label)
        yield Markup(
            '<line class="notch" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>'
            '<text class="tick" x="{0}" y="{3}" text-anchor="{4}">{5}</text>'
        ).format(
            frame.x(tick), frame.foot, frame.foot + 4, frame.foot + 18,
            "end" if is_at_edge else "middle", label,
        )  # fmt: skip
        tick += step * _NS
    yield Markup('<text class="unit" x="{}" y="{}">time, UTC</text>').format(
        (_LEFT + _WIDTH - _RIGHT) / 2, frame.foot + 36
    )


def _nice_step(highest: float) -> float:
    """1, 2 or 5 times a power of ten, so that there are at most six."""
    raw = max(highest, 1e-3) / 6
    power: float = 10.0 ** math.floor(math.log10(raw))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)


def _round_up(value: float) -> float:
    """To where an axis may end."""
    step = _nice_step(value) / 2
    return math.ceil(value / step) * step
