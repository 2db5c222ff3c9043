"""The page: one file that needs no network and runs no script."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from backbone.disk import write_whole
from tasks.commands.inspect.console import class_rows, coverage_rows, rows_of

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.commands.inspect.inspection import Inspection

CASES_SHOWN = 5


def write_page(path: Path, found: Inspection) -> None:
    """Write what was found as HTML. Everything that comes from the data is escaped."""
    environment = Environment(
        loader=PackageLoader("tasks.commands.inspect", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["data_uri"] = _data_uri
    classes, class_cells = class_rows(found.counts)
    text = environment.get_template("page.html").render(
        found=found,
        counts=rows_of(found.counts),
        splits=list(found.counts),
        classes=classes,
        class_cells=class_cells,
        coverage=None if found.coverage is None else coverage_rows(found.coverage),
        cases_shown=CASES_SHOWN,
    )
    write_whole(path, text)


def _data_uri(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"
