"""Losses and metrics while training, from the run's own CSV log."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tasks.report.charts import Series, line_chart
from tasks.report.html import Html, tag
from tasks.runs.tables import STEP, rows_of

if TYPE_CHECKING:
    from pathlib import Path

Points = tuple[list[float], list[float]]
LOSS, FIGURE = "train/", "val/"
SIZES = ("small", "medium", "large")
RECALL = "mar_"


def read_log(path: Path) -> dict[str, Points]:
    """Steps and values of every column of a CSV log that has a `step`; empty cells and NaN are left out."""
    found: dict[str, Points] = {}
    for row in rows_of(path):
        step = float(row[STEP])
        for name, text in row.items():
            if name in (STEP, "epoch") or not text or not math.isfinite(float(text)):
                continue
            steps, values = found.setdefault(name, ([], []))
            steps.append(step)
            values.append(float(text))
    return found


def curves(path: Path) -> Html | None:
    """Loss and metrics against the step; None if nothing was logged."""
    if not path.is_file():
        return None
    columns = read_log(path)
    total = f"{LOSS}loss"
    losses = [name for name in columns if name.startswith(LOSS) and name != total]
    if total in columns and len(losses) != 1:  # of one part the total says nothing new
        losses.insert(0, total)
    charts = [
        line_chart(
            [Series(_words(name, LOSS), *columns[name], tone) for tone, name in enumerate(losses)],
            title="Loss", x_label="step", note=_spacing(columns[losses[0]][0]),
        )
    ] if losses else []  # fmt: skip
    metrics = [name for name in columns if name.startswith(FIGURE) and not _left_out(name)]
    if metrics:
        lines = [
            Series(_words(name, FIGURE), *columns[name], tone, dots=True) for tone, name in enumerate(sorted(metrics))
        ]
        charts.append(line_chart(lines, title="Figures", x_label="step", note="on validation images, while training"))
    return tag("div", charts, class_="grid") if charts else None


def _left_out(name: str) -> bool:
    """Recalls, and metrics of some sizes of object: the table has them, and more lines than five are hard to read."""
    metric = name.rpartition("/")[2]
    return metric.startswith(RECALL) or metric.endswith(SIZES)


def _words(name: str, prefix: str) -> str:
    short = name.removeprefix(prefix)
    return "total" if short == "loss" else short.replace("_", " ").replace("/", " ")


def _spacing(steps: list[float]) -> str:
    return f"logged {len(steps)} times" if len(steps) > 1 else "logged once"
