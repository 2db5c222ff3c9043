"""Accuracy against what it costs: multiply-adds, and the time that one image takes here (as the paper's Figure 5)."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from backbone.disk import whole_file
from tasks.papers.tables import CHECKPOINTS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tasks.commands.sweep.row import Row

DOTS_PER_INCH = 110
PUBLISHED = "0.55"
"""Grey of published figures."""
PANELS = (
    ("multiply_adds", 1e-6, "multiply-adds of one image, M"),
    ("latency_ms", 1, "latency, ms (one image, one thread, median, noisy)"),
)
"""What of a row, in which unit, with which words."""


def draw(rows: Sequence[Row], path: Path, metric_name: str) -> None:
    """Write a PNG file with one panel for multiply-adds and one for latency.

    Models that differ in the last key alone are of one colour, joined by a line if its values are numbers. Published
    metrics stand beside ours where model and data are the published ones, and nowhere else, at our latency: theirs
    was measured on telephones.

    Args:
        rows: measured ones.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 5.5), dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots(1, 2, sharey=True)
    names = {row.name: list(row.varied.values())[-1] if row.varied else "" for row in rows}
    joined = all(_is_number(name) for name in names.values())
    begins = {name.rpartition("_")[0].partition("_")[0] for name in names.values()}
    shared = len(begins.pop()) + 1 if len(begins) == 1 and "" not in begins and not joined else 0
    for ax, (cost, unit, words) in zip(axes, PANELS, strict=True):
        lines: dict[str, list[tuple[float, Row]]] = {}
        for row in rows:
            others = list(row.varied.items())[:-1]
            label = ", ".join(f"{key}={value}" for key, value in others)
            lines.setdefault(label, []).append((getattr(row, cost) * unit, row))
        for label, line in lines.items():
            line.sort(key=lambda dot: dot[0])
            xs, ys = [x for x, _ in line], [row.metric for _, row in line]
            ax.plot(xs, ys, marker="o", markersize=5, linewidth=int(joined), label=label or None)
            for x, row in line:
                ax.annotate(f" {names[row.name][shared:]}", (x, row.metric), fontsize=7, color="0.3", va="bottom")
        _published(ax, rows, metric_name, cost, unit)
        ax.set_xlabel(words)
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter("{x:g}")
        ax.tick_params(axis="x", which="both", labelsize=7)
        ax.grid(visible=True, alpha=0.3)
    axes[0].set_ylabel(metric_name)
    figure.suptitle(" · ".join(dict.fromkeys(str(row.machine) for row in rows)), fontsize=9)
    if axes[0].get_legend_handles_labels()[0]:
        axes[0].legend(fontsize=8, loc="best")
    with whole_file(path) as part:
        figure.savefig(part, format="png")


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _published(ax: Any, rows: Sequence[Row], metric_name: str, cost: str, unit: float) -> None:
    """Rings at what was published for a model of ours; dots for ImageNet's other classifiers."""
    marks: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        for one in row.published:
            if one["metric"] == metric_name:
                marks.setdefault(one["source"] + one["caveat"], []).append((getattr(row, cost) * unit, one["value"]))
    for (name, points), marker in zip(marks.items(), itertools.cycle("os^Dv")):
        ax.scatter(*zip(*points, strict=True), s=60, marker=marker, facecolors="none", edgecolors="black",
                   linewidths=0.8, label=name, zorder=3)  # fmt: skip
    if cost == "multiply_adds" and any(row.imagenet for row in rows):
        cloud = [(known.multiply_adds, known.top_1 / 100) for sizes in CHECKPOINTS.values() for known in sizes.values()]
        label = "published checkpoints, ImageNet"
        ax.scatter(*zip(*cloud, strict=True), s=8, color=PUBLISHED, label=label, zorder=1)
