"""`report.html` of NetAdapt: what it ended with, and every iteration. Tables and plots are for other searches, too."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

from backbone.disk import write_whole
from tasks.report.html import Html, tag

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from tasks.search.progress import Outcome, SearchState

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
WIDTH, HEIGHT, MARGIN = 640.0, 320.0, 48.0
LONG = 40
"""Characters of a cell that is no number."""
KEY = 110
"""From one kind of point to the next in the key of a plot."""
COLOURS = ("#2a6fb0", "#c4622d", "#4b8b3b", "#8e5ba6")


def write_page(folder: Path, state: SearchState, outcomes: Sequence[Outcome], budget: float, unit: str) -> None:
    """Write the page.

    Args:
        unit: of the costs.
    """
    steps = [
        (str(number), one.unit or "start", str(one.channels or ""), f"{one.cost:.4g}", f"{one.metric:.4f}")
        for number, one in enumerate(state.iterations)
    ]
    write_sections(
        folder,
        f"NetAdapt to {budget:g} {unit}",
        [
            tag("p", "Metric on the validation split after the same long fine-tuning. 'uniform' is the starting"
                     " network with all units narrowed alike to the same cost: what choosing a width gives."
                     " '_scratch' is the same network trained from weights by chance."),
            outcome_table(outcomes, unit),
            tag("h2", "Iterations"),
            tag("p", "Metric on images held out of the training split, after the short fine-tuning."),
            plot({"iterations": [(one.cost, one.metric) for one in state.iterations]}, f"cost, {unit}"),
            table(("iteration", "unit", "channels", f"cost, {unit}", "metric"), steps),
        ],
    )  # fmt: skip


def write_sections(folder: Path, title: str, parts: Sequence[Html]) -> None:
    """Write `report.html` of a title and what is under it."""
    style = files("tasks.report").joinpath("style.css").read_text(encoding="utf-8")
    page = tag(
        "html",
        tag(
            "head", tag("meta", charset="utf-8"), tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
            tag("meta", name="viewport", content="width=device-width"), tag("title", title), tag("style", Html(style)),
        ),
        tag("body", tag("main", tag("h1", title), parts)),
        lang="en",
    )  # fmt: skip
    write_whole(folder / "report.html", f"<!doctype html>\n{page}")


def outcome_table(outcomes: Iterable[Outcome], unit: str) -> Html:
    """The networks that a search ended with."""
    rows = [
        (one.name, f"{one.metric:.4f}", f"{one.cost:.4g}", "" if one.measured_ms is None else f"{one.measured_ms:.3f}")
        for one in outcomes
    ]
    return table(("network", "metric", f"cost, {unit}", "measured whole, ms"), rows)


def table(header: Iterable[str], rows: Iterable[Sequence[str]]) -> Html:
    """A table of texts, the first of a row its name."""
    return tag(
        "table",
        tag("thead", tag("tr", (tag("th", cell) for cell in header), class_="head")),
        tag("tbody", (tag("tr", tag("th", row[0]), [_cell(cell) for cell in row[1:]]) for row in rows)),
        class_="bars",
    )


def _cell(text: str) -> Html:
    """Numbers stand to the right; a sentence has several lines."""
    is_long = len(text) > LONG
    return tag("td", text, style="white-space: normal; text-align: left") if is_long else tag("td", text)


def plot(series: Mapping[str, Sequence[tuple[float, float]]], across: str, up: str = "metric") -> Html:
    """Points of several kinds, with a key where there are several; a kind called `front` is joined by a line.

    Args:
        series: points by kind, each of what is across and what is up.
    """
    points = [point for of in series.values() for point in of]
    xs, ys = [point[0] for point in points], [point[1] for point in points]

    def at(point: tuple[float, float]) -> tuple[float, float]:
        return _place(point[0], xs, WIDTH), HEIGHT - _place(point[1], ys, HEIGHT)

    drawn: list[Any] = []
    for number, (kind, of) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        if kind == "front":
            line = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(at, of))
            drawn.append(tag("polyline", points=line, fill="none", stroke=colour, stroke_width=1.5))
        for point in of:
            x, y = at(point)
            words = f"{kind}: {point[0]:.4g}, {point[1]:.4f}"
            drawn.append(tag("circle", tag("title", words), r=4, cx=f"{x:.1f}", cy=f"{y:.1f}", fill=colour))
        if len(series) > 1:
            x = MARGIN + KEY * number
            drawn += [tag("circle", r=4, cx=x, cy=11, fill=colour), tag("text", kind, x=x + 9, y=16)]
    bottom, right = HEIGHT - MARGIN + 8, WIDTH - MARGIN + 8
    corner = f"{MARGIN - 8:g},{MARGIN - 8:g} {MARGIN - 8:g},{bottom:g} {right:g},{bottom:g}"
    drawn.append(tag("polyline", points=corner, fill="none", stroke="currentColor", stroke_opacity=0.3))
    drawn.append(tag("text", up, x=2, y=MARGIN - 14))
    low = {min(xs): "start", max(xs): "end"}
    drawn += [
        tag("text", f"{x:.4g}", x=f"{_place(x, xs, WIDTH):.1f}", y=HEIGHT - 18, text_anchor=anchor)
        for x, anchor in low.items()
    ]
    drawn.append(tag("text", across, x=WIDTH / 2, y=HEIGHT - 2, text_anchor="middle"))
    drawn += [
        tag("text", f"{y:.3f}", x=2, y=f"{HEIGHT - _place(y, ys, HEIGHT):.1f}") for y in sorted({min(ys), max(ys)})
    ]
    return tag("svg", drawn, viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}", role="img", aria_label=f"{up} over {across}")


def _place(value: float, values: Sequence[float], length: float) -> float:
    spread = max(values) - min(values)
    return MARGIN + (length - 2 * MARGIN) * ((value - min(values)) / spread if spread else 0.5)
