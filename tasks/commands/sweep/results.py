"""What a sweep came to so far: the rows of its jobs in `sweep.json`, in a table and in `sweep.png`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from statistics import mean, stdev
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from backbone.disk import write_whole
from tasks.commands.sweep.plan import short_names
from tasks.commands.sweep.plot import draw
from tasks.commands.sweep.row import SPLIT, read_row
from tasks.evaluators.table import number
from tasks.papers.ablations import answers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from tasks.commands.sweep.plan import Job
    from tasks.commands.sweep.row import Row

JSON, PLOT = "sweep.json", "sweep.png"
SEED = "seed"
STYLES = {"done": "", "failed": "bold red", "running": "dim", "waiting": "dim"}
"""By status."""


def write_results(sweep: Path, jobs: Sequence[Job]) -> list[Row]:
    """Write `sweep.json` and `sweep.png` of what there is, whole or not at all, and give back the rows.

    Raises:
        InputError: a row is damaged, or the folder cannot be written.
    """
    rows = [read_row(sweep, job) for job in jobs]
    content = {
        "metric": metric_name(jobs),
        "split": SPLIT,
        "jobs": [asdict(row) for row in rows],
        "means": [asdict(mean) for mean in means(rows)],
    }
    write_whole(sweep / JSON, json.dumps(content, indent=2))
    if dots := [row for row in rows if row.latency_ms is not None and row.metric is not None]:
        draw(dots, sweep / PLOT, metric_name(jobs))
    return rows


def show(rows: Sequence[Row], jobs: Sequence[Job], console: Console) -> None:
    """Print a line for every job."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for heading in short_names(list(jobs[0].varied)):
        table.add_column(heading)
    for heading in (metric_name(jobs), "multiply-\nadds, M", "para-\nmeters, M", "latency,\nms", "minutes"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for row in rows:
        cells = [
            *row.varied.values(),
            number(row.metric),
            _cell(row.multiply_adds, 1e6, 1),
            _cell(row.parameters, 1e6, 3),
            _cell(row.latency_ms, 1, 1),
            _cell(row.seconds, 60, 1),
            row.status,
        ]
        table.add_row(*(Text(cell, STYLES[row.status]) for cell in cells))
    console.print()
    console.print(table)
    _show_means(means(rows), jobs, console)
    for answer in answers(jobs[0].varied):
        console.print(Text(answer), soft_wrap=True)
    for row in rows:
        if row.reason:
            console.print(Text(f"{row.name}: {row.reason}"), soft_wrap=True)


@dataclass(frozen=True, slots=True)
class Mean:
    """Main metric over the seeds of otherwise equal jobs.

    Attributes:
        varied: what tells it from the others.
        seeds: how many are done.
        metric: the mean.
        spread: the standard deviation over the seeds, of n - 1; None for one seed.
    """

    varied: dict[str, str]
    seeds: int
    metric: float
    spread: float | None


def means(rows: Sequence[Row]) -> list[Mean]:
    """Means over the seeds, in the order of the rows; none where no seed is varied."""
    groups: dict[tuple[tuple[str, str], ...], list[float]] = {}
    for row in rows:
        if SEED in row.varied and row.metric is not None:
            others = tuple((key, value) for key, value in row.varied.items() if key != SEED)
            groups.setdefault(others, []).append(row.metric)
    return [
        Mean(dict(others), len(metrics), mean(metrics), stdev(metrics) if len(metrics) > 1 else None)
        for others, metrics in groups.items()
    ]


def _show_means(found: Sequence[Mean], jobs: Sequence[Job], console: Console) -> None:
    if not found:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for heading in short_names(list(found[0].varied)):
        table.add_column(heading)
    for heading in ("seeds", f"mean {metric_name(jobs)}", "spread"):
        table.add_column(heading, justify="right")
    for one in found:
        table.add_row(*one.varied.values(), str(one.seeds), number(one.metric), number(one.spread))
    console.print()
    console.print(table)


def metric_name(jobs: Sequence[Job]) -> str:
    """The main metric of the jobs; several heads have the mean of theirs, and jobs of several tasks each its own."""
    if len({job.metrics for job in jobs}) > 1:
        return "main metric"
    names = sorted({name for job in jobs for name in job.metrics})
    return names[0] if len(names) == 1 else f"mean of {', '.join(names)}"


def _cell(value: float | None, unit: float, digits: int) -> str:
    return "–" if value is None else f"{value / unit:.{digits}f}"
