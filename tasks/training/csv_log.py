"""Losses and metrics as a table, `csv/metrics.csv`: a row is in the file as soon as it is logged."""

from __future__ import annotations

import csv
import logging
import os
from itertools import islice
from typing import TYPE_CHECKING, Any

from lightning.pytorch.loggers.logger import Logger

from backbone.disk import sync, whole_file
from tasks.distributed.group import is_first
from tasks.runs.tables import STEP, rows_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

log = logging.getLogger(__name__)


class CsvLog(Logger):
    """Appends to `folder / "metrics.csv"`; a figure that comes later gets its own column.

    Differs from Lightning's own, which keeps up to 100 rows in memory and deletes the file of a training that goes on.

    Args:
        folder: of the file.
        keep: rows that stay of the file that is there.

    Attributes:
        rows: so far.
    """

    def __init__(self, folder: Path, keep: int = 0) -> None:
        super().__init__()
        self._path = folder / "metrics.csv"
        self._columns: list[str] = []
        self._waiting: list[dict[str, Any]] = []
        self._failed = False
        self.rows = 0
        if keep:
            self._go_on(keep)

    @property
    def name(self) -> str:
        """Nothing: Lightning asks for it."""
        return ""

    @property
    def version(self) -> str:
        """The folder's name."""
        return self._path.parent.name

    @property
    def log_dir(self) -> str:
        """The folder."""
        return str(self._path.parent)

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """`config.yaml` has them."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """One row, in the first of several processes."""
        if not is_first():
            return
        self._waiting.append({STEP: step, **{name: float(value) for name, value in metrics.items()}})
        self.rows += 1
        try:
            self._write()
        except OSError as error:
            if not self._failed:
                log.warning("%s cannot be written (%s): its rows wait in memory", self._path, error.strerror or error)
            self._failed = True
        else:
            self._failed = False

    def sync(self) -> None:
        """Wait until what was logged is on the disk: a checkpoint that is there says how many rows there are."""
        if self._path.is_file():
            sync(self._path)

    def _write(self) -> None:
        new = {name for row in self._waiting for name in row}.difference(self._columns)
        if new or not self._columns:
            self._rewrite(sorted({*self._columns, *new}), self.rows - len(self._waiting))
        else:
            end = self._path.stat().st_size
            try:
                with self._path.open("a", newline="", encoding="utf-8") as file:
                    csv.DictWriter(file, self._columns).writerows(self._waiting)
            except OSError:
                os.truncate(self._path, end)  # no half row stays
                raise
        self._waiting = []

    def _rewrite(self, columns: list[str], keep: int) -> None:
        """The first rows of the file, and those that wait, under these columns."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(self._path, durable=True) as part, part.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, columns)
            table.writeheader()
            if keep:
                table.writerows(islice(rows_of(self._path), keep))
            table.writerows(self._waiting)
        self._columns = columns

    def _go_on(self, keep: int) -> None:
        """Take over the first rows of the file, and say how many a loss of power left; later ones are logged again."""
        if not self._path.is_file():
            return
        columns: list[str] = []
        for row in islice(rows_of(self._path), keep):
            columns = list(row)
            self.rows += 1
        if self.rows < keep:
            log.warning("%s: is damaged: %d of its %d rows are left", self._path, self.rows, keep)
        if columns:
            self._rewrite(columns, self.rows)
