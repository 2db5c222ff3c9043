"""The figures of an evaluation as tables for the console."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console

    from tasks.evaluation.coco_map import ClassScores, CocoScores

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


def print_scores(
    scores: CocoScores, console: Console, sort_by: Literal["name", "map"] = "name", title: str = ""
) -> None:
    """Print the twelve figures, then every class, where `console` writes."""
    console.print(figures_table(scores, title))
    console.print()
    console.print(class_table(scores, sort_by, console.width))


def figures_table(scores: CocoScores, title: str = "") -> Table:
    """The twelve official figures, precision on the left, recall on the right; a dash where there is no such object."""
    counts = f"{scores.images} images, {scores.objects} objects, {scores.detections} detections"
    table = Table(
        title=Text(title) if title else None,
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
    figures = scores.figures()
    for precision, precision_key, recall, recall_key in ROWS:
        style = "bold" if precision_key == "map" else ""
        table.add_row(
            Text(precision, style), Text(_number(figures[precision_key]), style), recall, _number(figures[recall_key])
        )
    return table


def class_table(scores: CocoScores, sort_by: Literal["name", "map"] = "name", width: int = 80) -> Table:
    """Average precision of every class, and how many objects it rests on.

    Args:
        sort_by: `name`, or `map` for the best first; classes without objects come last then.
        width: columns of the console; a long list is laid out side by side as far as they reach.
    """
    classes = sorted(scores.classes, key=_by_name if sort_by == "name" else _by_map)
    widest = max([len("class"), *(Text(c.name).cell_len for c in classes)])
    room = (width + GAP) // (widest + len("objects") + len("0.000") + 3 * GAP)
    blocks = max(1, min(MAX_BLOCKS, room, math.ceil(len(classes) / ROWS_IN_BLOCK)))
    rows = math.ceil(len(classes) / blocks)
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0))
    for _ in range(blocks):
        table.add_column("class")
        table.add_column("objects", justify="right")
        table.add_column("AP", justify="right")
    for row in range(rows):
        cells: list[Text] = []
        for scored in classes[row::rows]:
            style = "dim" if scored.map is None else ""
            cells += [Text(scored.name, style), Text(str(scored.objects), style), Text(_number(scored.map), style)]
        table.add_row(*cells)
    return table


def _by_name(scored: ClassScores) -> tuple[float, str]:
    return 0.0, scored.name.casefold()


def _by_map(scored: ClassScores) -> tuple[float, str]:
    return (math.inf if scored.map is None else -scored.map), scored.name.casefold()


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
