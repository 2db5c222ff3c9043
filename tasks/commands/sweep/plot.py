"""Accuracy against what it costs: multiply-adds, and the time that one image takes here (as the paper's Figure 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from backbone.disk import whole_file
from tasks.papers.tables import CHECKPOINTS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tasks.commands.sweep.plan import Job
    from tasks.commands.sweep.record import Measured

DOTS_PER_INCH = 110
PUBLISHED = "0.55"
"""Grey of published figures."""


class Dot(NamedTuple):
    """A trained model."""

    job: Job
    figure: float
    measured: Measured


def draw(dots: Sequence[Dot], path: Path, figure_name: str) -> None:
    """One panel for multiply-adds, one for latency; models that differ in the last key alone are joined by a line.

    Published figures stand beside ours where model and data are the published ones, and nowhere else. They are drawn
    at our latency, since theirs was measured on telephones.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 5.5), dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots(1, 2, sharey=True)
    for ax, on_latency in zip(axes, (False, True), strict=True):
        known = [dot for dot in dots if _x(dot, on_latency) is not None]
        for label, line in _lines(known).items():
            line.sort(key=lambda dot: _x(dot, on_latency) or 0.0)
            xs, ys = [_x(dot, on_latency) for dot in line], [dot.figure for dot in line]
            ax.plot(xs, ys, marker="o", markersize=5, linewidth=1, label=label or None)
            for dot, x in zip(line, xs, strict=True):
                last = list(dot.job.varied.values())[-1:]
                ax.annotate(f" {' '.join(last)}", (x, dot.figure), fontsize=7, color="0.3", va="bottom")
        _published(ax, known, on_latency)
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter("{x:g}")
        ax.tick_params(axis="x", which="both", labelsize=7)
        ax.grid(visible=True, alpha=0.3)
    axes[0].set_xlabel("multiply-adds of one image, M")
    axes[0].set_ylabel(figure_name)
    axes[1].set_xlabel("latency, ms (one image, one thread, median, noisy)")
    figure.suptitle(" · ".join(dict.fromkeys(dot.measured.machine for dot in dots)), fontsize=9)
    if axes[0].get_legend_handles_labels()[0]:
        axes[0].legend(fontsize=8, loc="lower right")
    with whole_file(path) as part:
        figure.savefig(part, format="png")


def _x(dot: Dot, on_latency: bool) -> float | None:
    return dot.measured.latency_ms if on_latency else dot.measured.multiply_adds / 1e6


def _lines(dots: Sequence[Dot]) -> dict[str, list[Dot]]:
    """By everything that varies but the last key."""
    lines: dict[str, list[Dot]] = {}
    for dot in dots:
        others = list(dot.job.varied.items())[:-1]
        lines.setdefault(", ".join(f"{key}={value}" for key, value in others), []).append(dot)
    return lines


def _published(ax: Any, dots: Sequence[Dot], on_latency: bool) -> None:
    """Rings at what was published for a model of ours; dots for ImageNet's other classifiers."""
    marks: dict[str, list[tuple[float, float]]] = {}
    for dot in dots:
        for reference in dot.measured.references:
            x = _x(dot, on_latency)
            assert x is not None
            if reference["figure"] in dot.measured.figures:
                name = f"{reference['source']}{reference['caveat']}"
                marks.setdefault(name, []).append((x, reference["value"]))
    for number, (name, points) in enumerate(marks.items()):
        xs, ys = zip(*points, strict=True)
        ax.scatter(xs, ys, s=60, marker="os^Dv"[number % 5], facecolors="none", edgecolors="black", linewidths=0.8,
                   label=name, zorder=3)  # fmt: skip
    if not on_latency and any(dot.measured.imagenet for dot in dots):
        cloud = [(known.multiply_adds, known.top_1 / 100) for sizes in CHECKPOINTS.values() for known in sizes.values()]
        xs, ys = zip(*cloud, strict=True)
        ax.scatter(xs, ys, s=8, color=PUBLISHED, label="published MobileNetV2 checkpoints, ImageNet", zorder=1)
