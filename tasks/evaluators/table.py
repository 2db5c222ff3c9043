"""The metrics of an evaluation as tables for the console."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from rich.table import Table
from rich.text import Text

from backbone.errors import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from tasks.metrics.coco_map import CocoScores

SortBy: TypeAlias = Literal["name", "value"]

ROWS = (
    ("IoU .50:.95", "map", "at most 1 an image", "mar_1"),
    ("IoU .50", "map_50", "at most 10", "mar_10"),
    ("IoU .75", "map_75", "at most 100", "mar_100"),
    ("small, below 32² px", "map_small", "small", "mar_small"),
    ("medium", "map_medium", "medium", "mar_medium"),
    ("large, above 96² px", "map_large", "large", "mar_large"),
)
MAX_BLOCKS = 4
ROWS_IN_BLOCK = 20
GAP = 3


def print_scores(scores: CocoScores, console: Console, sort_by: SortBy = "name", title: str = "") -> None:
    """Print the twelve metrics, then every class, where `console` writes."""
    console.print(metrics_table(scores, title))
    console.print()
    rows = [ClassRow(scored.name, scored.objects, scored.map) for scored in scores.classes]
    console.print(class_table(rows, "objects", "AP", sort_by, console.width))


def metrics_table(scores: CocoScores, title: str = "") -> Table:
    """The twelve official metrics, precision on the left, recall on the right; a dash where there is no such object."""
    counts = f"{scores.images} images, {scores.objects} objects, {scores.detections} detections"
    table = Table(
        title=Text(printable(title)) if title else None,
        caption=counts,
        title_justify="left",
        caption_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, GAP, 0, 0),
    )
    table.add_column("average precision")
    table.add_column("", justify="right")
    table.add_column("average recall")
    table.add_column("", justify="right")
    metrics = scores.metrics()
    for precision, precision_key, recall, recall_key in ROWS:
        style = "bold" if precision_key == "map" else ""
        table.add_row(
            Text(precision, style), Text(number(metrics[precision_key]), style), recall, number(metrics[recall_key])
        )
    return table


class ClassRow(NamedTuple):
    """One class in a table: how much there is of it, and its figure, None where there is none."""

    name: str
    amount: int
    value: float | None


def class_table(
    classes: Sequence[ClassRow], counted: str, metric: str, sort_by: SortBy = "name", width: int = 80
) -> Table:
    """The figure of every class, and how much it rests on.

    Args:
        counted: what `amount` counts, the heading of its column.
        metric: what `value` is, the heading of its column.
        sort_by: `name`, or `value` for the best first; classes without a figure come last then.
        width: columns of the console; a long list is laid out side by side as far as they reach.
    """
    classes = [row._replace(name=printable(row.name)) for row in classes]
    ordered = sorted(classes, key=_by_name if sort_by == "name" else _by_value)
    widest = max([len("class"), *(Text(row.name).cell_len for row in ordered)])
    room = (width + GAP) // (widest + len(counted) + max(len(metric), len("0.000")) + 3 * GAP)
    blocks = max(1, min(MAX_BLOCKS, room, math.ceil(len(ordered) / ROWS_IN_BLOCK)))
    rows = math.ceil(len(ordered) / blocks)
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0))
    for _ in range(blocks):
        table.add_column("class")
        table.add_column(counted, justify="right")
        table.add_column(metric, justify="right")
    for row in range(rows):
        cells: list[Text] = []
        for one in ordered[row::rows]:
            style = "dim" if one.value is None else ""
            cells += [Text(one.name, style), Text(str(one.amount), style), Text(number(one.value), style)]
        table.add_row(*cells)
    return table


def print_metrics(
    metrics: Mapping[str, float | None],
    classes: Sequence[ClassRow],
    console: Console,
    *,
    counted: str,
    metric: str,
    title: str,
    caption: str,
) -> None:
    """Print a short list of metrics with their names in words, then every class that occurs or has a metric."""
    table = Table(
        title=Text(printable(title)),
        caption=caption,
        title_justify="left",
        caption_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, GAP, 0, 0),
        show_header=False,
    )
    for place, (name, value) in enumerate(metrics.items()):
        style = "bold" if place == 0 else ""
        table.add_row(Text(name, style), Text(number(value), style))
    console.print(table)
    console.print()
    there = [row for row in classes if row.amount or row.value is not None]
    console.print(class_table(there or classes, counted, metric, width=console.width))


def _by_name(row: ClassRow) -> tuple[float, str]:
    return 0.0, row.name.casefold()


def _by_value(row: ClassRow) -> tuple[float, str]:
    return (math.inf if row.value is None else -row.value), row.name.casefold()


def number(value: float | None) -> str:
    """Three digits, or a dash."""
    return "–" if value is None else f"{value:.3f}"
