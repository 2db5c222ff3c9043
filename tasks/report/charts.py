"""Charts as SVG that takes its colours from the page, so that one drawing serves light and dark."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tasks.report.html import Html, join, tag

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WIDTH, HEIGHT = 420, 264
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 12, 40
TONES = 6
"""Line colours that the style knows, `tone0` and on."""
MAX_POINTS = 240
LOG_SPAN = 30
"""A scale whose largest value is that many times the smallest is logarithmic."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line.

    Attributes:
        xs, ys: as many of each; more than `MAX_POINTS` are averaged in groups.
        tone: which of the colours.
        dots: mark every point, and say its value under the pointer.
    """

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    tone: int = 0
    dots: bool = False


@dataclass(frozen=True, slots=True)
class Scale:
    """From values to pixels."""

    low: float
    high: float
    start_px: float
    end_px: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = (
            (math.log(v) for v in (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        )
        return self.start_px + (at - low) / (high - low) * (self.end_px - self.start_px)

    def ticks(self) -> list[float]:
        """Round values inside, about five."""
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            found = [
                factor * 10.0**d for d in decades for factor in (1, 2, 5) if self.low <= factor * 10**d <= self.high
            ]
            return found if len(found) < 7 else [value for value in found if f"{value:e}"[0] == "1"]
        raw = (self.high - self.low) / 4
        unit = 10.0 ** math.floor(math.log10(raw))
        step = min((factor * unit for factor in (1, 2, 2.5, 5, 10)), key=lambda size: abs(size - raw))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def line_chart(series: Sequence[Series], *, title: str, x_label: str, unit: bool = False, note: str = "") -> Html:
    """Lines over a common x.

    Args:
        unit: both axes are 0 .. 1; otherwise the y axis fits what is drawn.
        note: below the title.
    """
    drawn = [one for one in map(_grouped, series) if one.xs]
    xs = [x for one in drawn for x in one.xs]
    ys = [y for one in drawn for y in one.ys]
    if unit:
        x, y = Scale(0, 1, LEFT, WIDTH - RIGHT), Scale(0, 1, HEIGHT - BOTTOM, TOP)
    else:
        x = Scale(0, max([*xs, 1]), LEFT, WIDTH - RIGHT)
        y = _fitting(ys or [0])
    marks = [_line(one, x, y) for one in drawn]
    keys = [tag("span", tag("i", class_=f"key tone{one.tone % TONES}"), one.name) for one in drawn]
    return figure(title, _frame(x, y, x_label, marks, title), note, keys if len(keys) > 1 else [])


def calibration_chart(confidence: Sequence[float], accuracy: Sequence[float], counts: Sequence[int]) -> Html:
    """How often answers of a confidence are right: a bar for each bin; calibrated ones end on the diagonal.

    Args:
        counts: answers in every bin; an empty one is not drawn.
    """
    x, y = Scale(0, 1, LEFT, WIDTH - RIGHT), Scale(0, 1, HEIGHT - BOTTOM, TOP)
    wide = (x(1) - x(0)) / len(counts) - 2
    marks: list[Html] = []
    for number, (sure, right, count) in enumerate(zip(confidence, accuracy, counts, strict=True)):
        if not count:
            continue
        left = x(number / len(counts)) + 1
        said = f"{count} answers: {sure:.1%} sure, {right:.1%} right"
        top, low = min(y(sure), y(right)), max(y(sure), y(right))
        marks += [
            tag("rect", x=left, y=y(right), width=wide, height=y(0) - y(right), class_="bar"),
            tag("rect", x=left, y=top, width=wide, height=low - top, class_="gap"),
            tag("rect", tag("title", said), x=left, y=float(TOP), width=wide, height=y(0) - TOP, class_="touch"),
        ]
    marks.append(tag("line", x1=x(0), y1=y(0), x2=x(1), y2=y(1), class_="guide"))
    keys = [
        tag("span", tag("i", class_="key tone0"), "right"),
        tag("span", tag("i", class_="key tone1"), "gap to what it was sure of"),
    ]
    return figure(
        "Calibration", _frame(x, y, "confidence", marks, "Calibration"), "share of answers that are right", keys
    )


def figure(title: str, drawing: Html, note: str = "", keys: Sequence[Html] = ()) -> Html:
    """A card with a title, a legend and a drawing."""
    heading = tag("figcaption", tag("b", title), tag("span", note, class_="note") if note else None)
    return tag("figure", heading, tag("p", keys, class_="keys") if keys else None, drawing, class_="card chart")


def _line(series: Series, x: Callable[[float], float], y: Callable[[float], float]) -> Html:
    points = [(x(a), y(b)) for a, b in zip(series.xs, series.ys, strict=True)]
    tone = f"tone{series.tone % TONES}"
    path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in points)
    dots = [
        tag("circle", tag("title", f"{series.name} {value:.4g} at {at:.10g}"), cx=a, cy=b, r=3, class_=f"dot {tone}")
        for (a, b), at, value in zip(points, series.xs, series.ys, strict=True)
        if series.dots
    ]
    return join([tag("path", d=path, class_=f"line {tone}"), *dots])


def _frame(x: Scale, y: Scale, x_label: str, marks: Sequence[Html | None], label: str) -> Html:
    grid = [tag("line", x1=x.start_px, x2=x.end_px, y1=y(v), y2=y(v), class_="grid") for v in y.ticks()]
    numbers = [tag("text", _number(v), x=x.start_px - 7, y=y(v) + 4, class_="end") for v in y.ticks()]
    numbers += [tag("text", _number(v), x=x(v), y=y.start_px + 18, class_="middle") for v in x.ticks()]
    numbers.append(tag("text", x_label, x=x.end_px, y=y.start_px + 34, class_="end label"))
    return tag("svg", grid, numbers, marks, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=label)


def _fitting(ys: Sequence[float]) -> Scale:
    low, high = min(ys), max(ys)
    if low > 0 and high / low > LOG_SPAN:
        return Scale(low / 1.1, high * 1.1, HEIGHT - BOTTOM, TOP, log=True)
    low = 0.0 if low >= 0 else low
    return Scale(low, high + 0.06 * (high - low) if high > low else low + 1, HEIGHT - BOTTOM, TOP)


def _grouped(series: Series) -> Series:
    """At most `MAX_POINTS`, each the mean of as many neighbours; no number of either axis that is not finite."""
    xs, ys = np.asarray(series.xs, np.float64), np.asarray(series.ys, np.float64)
    finite = np.isfinite(xs) & np.isfinite(ys)
    xs, ys = xs[finite], ys[finite]
    if len(xs) > MAX_POINTS:
        starts = np.linspace(0, len(xs), MAX_POINTS, endpoint=False).astype(int)
        counts = np.diff(np.append(starts, len(xs)))
        xs, ys = np.add.reduceat(xs, starts) / counts, np.add.reduceat(ys, starts) / counts
    return Series(series.name, xs.tolist(), ys.tolist(), series.tone, series.dots)


def _number(value: float) -> str:
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    return f"{value:.10g}" if value == 0 or abs(value) >= 1e-3 else f"{value:.0e}"
