"""`report.html` of a search: what it ended with, and every iteration."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

from backbone.disk import write_whole
from tasks.report.html import Html, tag

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from tasks.search.progress import Outcome, SearchState

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
WIDTH, HEIGHT, MARGIN = 640.0, 300.0, 40.0


def write_page(folder: Path, state: SearchState, outcomes: Sequence[Outcome], budget: float, unit: str) -> None:
    """Write the page.

    Args:
        unit: of the costs.
    """
    rows = [
        (one.name, f"{one.metric:.4f}", f"{one.cost:.4g}", "" if one.measured_ms is None else f"{one.measured_ms:.3f}")
        for one in outcomes
    ]
    steps = [
        (str(number), one.unit or "start", str(one.channels or ""), f"{one.cost:.4g}", f"{one.metric:.4f}")
        for number, one in enumerate(state.iterations)
    ]
    style = files("tasks.report").joinpath("style.css").read_text(encoding="utf-8")
    page = tag(
        "html",
        tag(
            "head", tag("meta", charset="utf-8"), tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
            tag("title", "Search"), tag("style", Html(style)),
        ),
        tag(
            "body",
            tag(
                "main",
                tag("h1", f"NetAdapt to {budget:g} {unit}"),
                tag("p", "Metric on the validation split after the same long fine-tuning. 'uniform' is the starting"
                         " network with all units narrowed alike to the same cost: what choosing a width gives."),
                _table(("network", "metric", f"cost, {unit}", "measured whole, ms"), rows),
                tag("h2", "Iterations"),
                tag("p", "Metric on images held out of the training split, after the short fine-tuning."),
                _curve([(one.cost, one.metric) for one in state.iterations], unit),
                _table(("iteration", "unit", "channels", f"cost, {unit}", "metric"), steps),
            ),
        ),
        lang="en",
    )  # fmt: skip
    write_whole(folder / "report.html", f"<!doctype html>\n{page}")


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> Html:
    return tag(
        "table",
        tag("thead", tag("tr", (tag("th", cell) for cell in header))),
        tag("tbody", (tag("tr", (tag("td", cell) for cell in row)) for row in rows)),
    )


def _curve(points: Sequence[tuple[float, float]], unit: str) -> Html:
    """Metric over cost, a point for every iteration."""
    costs, metrics = [point[0] for point in points], [point[1] for point in points]

    def at(value: float, values: Sequence[float], length: float) -> float:
        spread = max(values) - min(values)
        return MARGIN + (length - 2 * MARGIN) * ((value - min(values)) / spread if spread else 0.5)

    dots: list[Any] = [
        tag("circle", tag("title", f"{cost:.4g} {unit}: {metric:.4f}"), r=4,
            cx=at(cost, costs, WIDTH), cy=HEIGHT - at(metric, metrics, HEIGHT), fill="currentColor")
        for cost, metric in points
    ]  # fmt: skip
    ends = [
        tag("text", f"{cost:.4g}", x=at(cost, costs, WIDTH), y=HEIGHT - 8, text_anchor="middle", fill="currentColor")
        for cost in sorted({min(costs), max(costs)})
    ]
    ends += [
        tag("text", f"{metric:.3f}", x=2.0, y=HEIGHT - at(metric, metrics, HEIGHT), fill="currentColor")
        for metric in sorted({min(metrics), max(metrics)})
    ]
    return tag("svg", dots, ends, viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}", role="img", aria_label=f"metric over {unit}")
