"""What a sweep came to so far: `sweep.json`, a table and `sweep.png`, from the records and `metrics.json` alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from backbone.errors import InputError
from tasks.commands.sweep.plan import short_names
from tasks.commands.sweep.plot import Dot, draw
from tasks.commands.sweep.record import METRICS, Measured, Place, Status, is_done, read_record, write_json
from tasks.evaluators.table import number

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from tasks.commands.sweep.plan import Job

JSON, PLOT = "sweep.json", "sweep.png"
SPLIT = "val"
STYLES = {Status.done: "", Status.failed: "bold red", Status.running: "dim", Status.waiting: "dim"}


@dataclass(slots=True, kw_only=True)
class Row:
    """One job.

    Attributes:
        metrics: of the validation images; empty unless it is done.
        figure: the mean of the main figures of its heads; None unless it is done.
    """

    job: Job
    status: Status
    reason: str
    seconds: float | None
    measured: Measured | None
    metrics: dict[str, float | None]
    figure: float | None

    def plain(self) -> dict[str, Any]:
        """For `sweep.json`."""
        measured = self.measured
        return {
            "name": self.job.name,
            "varied": self.job.varied,
            "status": self.status,
            "reason": self.reason,
            "seconds": self.seconds,
            "figure": self.figure,
            "image_size": measured and measured.image_size,
            "parameters": measured and measured.parameters,
            "multiply_adds": measured and measured.multiply_adds,
            "latency_ms": measured and measured.latency_ms,
            "machine": measured and measured.machine,
            "published": measured.references if measured else [],
            "metrics": self.metrics,
        }


def write_results(sweep: Path, jobs: Sequence[Job]) -> list[Row]:
    """Write `sweep.json` and `sweep.png` of what there is, whole or not at all, and give back the rows.

    Raises:
        InputError: a record or a `metrics.json` is damaged, or the folder cannot be written.
    """
    rows = [_row(Place(sweep, job.name), job) for job in jobs]
    name = _figure_name(rows)
    write_json(sweep / JSON, {"figure": name, "split": SPLIT, "jobs": [row.plain() for row in rows]})
    dots = [
        Dot(row.job, row.figure, row.measured) for row in rows if row.measured is not None and row.figure is not None
    ]
    if dots:
        draw(dots, sweep / PLOT, name)
    return rows


def show(rows: Sequence[Row], console: Console) -> None:
    """Print a line for every job."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    keys = list(rows[0].job.varied)
    for heading in short_names(keys):
        table.add_column(heading)
    for heading in (_figure_name(rows), "multiply-\nadds, M", "para-\nmeters, M", "latency,\nms", "minutes"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for row in rows:
        measured = row.measured if row.status is Status.done else None
        cells = [
            number(row.figure),
            _cell(measured.multiply_adds / 1e6 if measured else None, 1),
            _cell(measured.parameters / 1e6 if measured else None, 3),
            _cell(measured.latency_ms if measured else None, 1),
            _cell(row.seconds and row.seconds / 60, 1),
            row.status.value,
        ]
        style = STYLES[row.status]
        table.add_row(*(Text(cell, style) for cell in (*(row.job.varied[key] for key in keys), *cells)))
    console.print()
    console.print(table)
    for row in rows:
        if row.reason:
            console.print(Text(f"{row.job.name}: {row.reason}"), soft_wrap=True)


def _row(place: Place, job: Job) -> Row:
    record = read_record(place.record)
    done = is_done(place, record)
    metrics = _metrics(place.folder / METRICS) if done else {}
    status = record.status if record else Status.waiting
    if status is Status.done and not done:
        status = Status.waiting  # its figures are gone: it is done again
    measured = record.measured if record and done else None
    values = [metrics.get(name) for name in measured.figures] if measured else []
    known = [value for value in values if value is not None]
    return Row(
        job=job,
        status=status,
        reason=record.reason if record else "",
        seconds=record.seconds if record else None,
        measured=measured,
        metrics=metrics,
        figure=sum(known) / len(known) if known and len(known) == len(values) else None,
    )


def _metrics(path: Path) -> dict[str, float | None]:
    try:
        found: dict[str, float | None] = json.loads(path.read_text(encoding="utf-8"))[SPLIT]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is damaged ({error}); remove the run's folder, and it is done again") from error
    return found


def _figure_name(rows: Sequence[Row]) -> str:
    """What the figure of the jobs is; several heads have their mean."""
    names = {name for row in rows if row.measured for name in row.measured.figures}
    return names.pop() if len(names) == 1 else "mean of " + ", ".join(sorted(names)) if names else "figure"


def _cell(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
