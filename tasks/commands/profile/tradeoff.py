"""What widths and image sizes cost, and several networks by what was published for them (the paper's Figure 5)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from backbone.disk import whole_file
from tasks.commands.profile.models import classifier, classifier_cost
from tasks.papers.classifiers import published
from tasks.timing.latency import latency

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from backbone.config import MobileNetConfig

DOTS_PER_INCH = 110


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A classifier of 1000 classes. Parameters and multiply-adds in millions, the latency with one thread."""

    network: str
    width: float
    image_size: int
    parameters: float
    multiply_adds: float
    median_ms: float
    published_multiply_adds: int | None
    published_top_1: float | None


def sweep(config: MobileNetConfig, widths: Sequence[float], sizes: Sequence[int], passes: int) -> list[Point]:
    """Measure the backbone at every width and image size."""
    points = []
    for width in widths:
        at_width = replace(config, width=width, weights=None)
        model = classifier(at_width)
        for size in sizes:
            counts = classifier_cost(at_width, size)
            known = published(at_width, size)
            timing = latency(model, torch.rand(1, 3, size, size), threads=1, passes=passes)
            points.append(
                Point(
                    network=config.NAME,
                    width=width,
                    image_size=size,
                    parameters=counts.parameters / 1e6,
                    multiply_adds=counts.multiply_adds / 1e6,
                    median_ms=timing.median_ms,
                    published_multiply_adds=None if known is None else known.multiply_adds,
                    published_top_1=None if known is None else known.top_1,
                )
            )
    return points


def draw(points: Sequence[Point], path: Path, machine: str) -> None:
    """Multiply-adds against parameters and against latency: a line for each width, rings around published figures."""
    from matplotlib.ticker import LogLocator, NullLocator

    figure, axes = _panels(machine)
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


def draw_networks(points: Sequence[Point], path: Path, machine: str) -> None:
    """Published top-1 against multiply-adds and against latency: a line for each network and width."""
    figure, axes = _panels(machine)
    known = [point for point in points if point.published_top_1 is not None]
    colours = {name: f"C{index}" for index, name in enumerate(dict.fromkeys(point.network for point in known))}
    for ax, name in zip(axes, ("multiply_adds", "median_ms"), strict=True):
        for network, width in dict.fromkeys((point.network, point.width) for point in known):
            line = [point for point in known if (point.network, point.width) == (network, width)]
            x, y = [getattr(point, name) for point in line], [point.published_top_1 for point in line]
            ax.plot(x, y, marker="o", markersize=4, linewidth=1, color=colours[network])
            ax.annotate(f" {width:g}", (x[0], y[0]), fontsize=7, color="0.4", va="center")
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter("{x:g}")
        ax.tick_params(axis="x", which="both", labelsize=7)
        ax.grid(visible=True, alpha=0.3)
    for network, colour in colours.items():
        axes[0].plot([], [], color=colour, marker="o", markersize=4, label=network)
    axes[0].set_xlabel("multiply-adds, M")
    axes[0].set_ylabel("published ImageNet top-1, %")
    axes[1].set_xlabel("latency, ms (one image, one thread, median, noisy); width at the largest image")
    if colours:
        axes[0].legend(fontsize=8, loc="lower right")
    with whole_file(path) as part:
        figure.savefig(part, format=path.suffix[1:])


def _panels(machine: str) -> tuple[Any, Any]:
    """A figure with two panels side by side."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 5.5), dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"Classifiers of 1000 classes, on {machine}", fontsize=10)
    return figure, figure.subplots(1, 2, sharey=True)


def plain(points: Sequence[Point]) -> list[dict[str, Any]]:
    """For `profile.json`."""
    return [asdict(point) for point in points]
