"""mode=latency: a latency table of the configured network, and its sum beside the whole network."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from backbone.config import MobileNetConfig
from backbone.disk import write_whole
from backbone.errors import InputError
from tasks.data.labels import LabelMap
from tasks.runs import folder as run_folder
from tasks.search.measure import Stopwatch
from tasks.search.pieces import pieces
from tasks.search.table import LatencyTable

if TYPE_CHECKING:
    from tasks.commands.job import Job
    from tasks.config.latency import LatencyConfig

log = logging.getLogger(__name__)

SLOWEST = 8
"""Pieces that are printed."""


def latency(job: Job, section: LatencyConfig) -> None:
    """Measure every piece that the table does not have, and the whole network; `latency.json` holds the table.

    Raises:
        InputError: the backbone is not ours, the runtime is not installed, or the table does not fit.
    """
    builder = job.builder
    if not isinstance(builder.backbone, MobileNetConfig):
        raise InputError("mode=latency: takes a MobileNet apart; name one of those, or backbone=searched")
    size = builder.transform.image_size
    watch = Stopwatch(section)
    classes = LabelMap.numbered([str(number) for number in range(section.num_classes)])
    model = builder.model(dict.fromkeys(builder.heads, classes)).eval()
    run_folder.make(job.folder)
    job.lines.attach(job.folder)
    path = job.folder / "latency.json" if section.table is None else Path(section.table)
    table = LatencyTable(path, watch.about(), watch.piece)
    found = list(pieces(model, size))
    total = table.total(found)
    log.info("%s: %d pieces, %d of them measured now", path, len({piece.key for piece in found}), table.measured)
    shown = Table(title=f"{section.runtime.value}, {section.precision.value}, threads={section.threads}, {size} px")
    for column in ("ms", "quartiles", "slowest pieces"):
        shown.add_column(column, justify="left" if column == "slowest pieces" else "right")
    for piece in sorted(found, key=lambda one: -table.timing(one).fast)[:SLOWEST]:
        times = table.timing(piece)
        shown.add_row(f"{times.fast:.3f}", f"{times.low:.3f} .. {times.high:.3f}", piece.key)
    result: dict[str, Any] = {"sum_ms": total, "pieces": len(found)}
    if table.is_elsewhere:
        log.info("sum of the pieces: %.3f ms on %s; the whole network is not timed here", total, table.about["machine"])
    else:
        (whole,) = watch.networks([model], size)
        result |= {"whole": asdict(whole), "error": total / whole.fast - 1}
        log.info(
            "sum of the pieces: %.3f ms; whole network: %.3f ms (quartiles %.3f .. %.3f): the sum is %+.1f %% off",
            total, whole.fast, whole.low, whole.high, 100 * result["error"],
        )  # fmt: skip
    Console().print(shown)
    write_whole(job.folder / "latency_sum.json", json.dumps(result, indent=2))
    log.info("everything is in %s", job.folder)
