"""What widths and image sizes cost: the half of the paper's trade-off plot that needs no accuracy (Figure 5)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from backbone.disk import whole_file
from tasks.commands.profile.models import classifier, classifier_cost
from tasks.papers.references import is_reference
from tasks.papers.tables import CHECKPOINTS
from tasks.timing.latency import latency

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from backbone.config import MobileNetConfig

DOTS_PER_INCH = 110


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A classifier of 1000 classes. Parameters and multiply-adds in millions, the latency with one thread."""

    width: float
    image_size: int
    parameters: float
    multiply_adds: float
    median_ms: float
    published_multiply_adds: int | None


def sweep(config: MobileNetConfig, widths: Sequence[float], sizes: Sequence[int], passes: int) -> list[Point]:
    """Measure the backbone at every width and image size."""
    points = []
    for width in widths:
        at_width = replace(config, width=width, weights=None)
        model = classifier(at_width)
        published = CHECKPOINTS.get(width, {}) if is_reference(at_width) else {}
        for size in sizes:
            counts = classifier_cost(at_width, size)
            timing = latency(model, torch.rand(1, 3, size, size), threads=1, passes=passes)
            points.append(
                Point(
                    width=width,
                    image_size=size,
                    parameters=counts.parameters / 1e6,
                    multiply_adds=counts.multiply_adds / 1e6,
                    median_ms=timing.median_ms,
                    published_multiply_adds=published[size].multiply_adds if size in published else None,
                )
            )
    return points


def draw(points: Sequence[Point], path: Path, machine: str) -> None:
    """Multiply-adds against parameters and against latency: a line for each width, rings around published figures."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator

    figure = Figure(figsize=(12, 5.5), dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"Classifiers of 1000 classes, on {machine}", fontsize=10)
    axes: Any = figure.subplots(1, 2, sharey=True)
    for ax, name in zip(axes, ("parameters", "median_ms"), strict=True):
        for width in dict.fromkeys(point.width for point in points):
            line = [point for point in points if point.width == width]
            x, y = [getattr(point, name) for point in line], [point.multiply_adds for point in line]
            ax.plot(x, y, marker="o", markersize=4, linewidth=1, label=f"width {width}")
            for point in line if name == "median_ms" else ():
                ax.annotate(
                    f" {point.image_size}", (point.median_ms, point.multiply_adds), fontsize=7, color="0.4", va="center"
                )
        marked = [point for point in points if point.published_multiply_adds is not None]
        ax.scatter(
            [getattr(point, name) for point in marked],
            [point.published_multiply_adds for point in marked],
            s=70, facecolors="none", edgecolors="black", linewidths=0.8, label="multiply-adds as published", zorder=3,
        )  # fmt: skip
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_locator(NullLocator())
        ax.grid(visible=True, alpha=0.3)
    axes[0].set_xlabel("parameters, M")
    axes[0].set_ylabel("multiply-adds, M")
    axes[1].set_xlabel("latency, ms (one image, one thread, median, noisy); image size in px")
    axes[0].legend(fontsize=8, loc="lower right")
    with whole_file(path) as part:
        figure.savefig(part, format=path.suffix[1:])


def plain(points: Sequence[Point]) -> list[dict[str, Any]]:
    """For `profile.json`."""
    return [asdict(point) for point in points]
