"""mode=export: from a checkpoint to a file for another runtime, and how that compares with the model."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from backbone.disk import write_whole
from tasks.build import build_splits
from tasks.commands.export.calibration import calibrate_on
from tasks.commands.export.comparison import compare
from tasks.commands.export.loading import load
from tasks.config.export import ExportConfig, Format, Precision
from tasks.data.transforms.build import evaluation_transform
from tasks.deploy.graph import ExportGraph
from tasks.deploy.header import read_artifact
from tasks.deploy.lacking import operators_named
from tasks.deploy.opening import fix_size
from tasks.deploy.rounding import round_weights
from tasks.deploy.toolchains import TOOLCHAINS, tools
from tasks.deploy.web.page import write_page
from tasks.deploy.web.runtime import check_runtime
from tasks.deploy.web.view import view_of
from tasks.runs import folder as run_folder

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.config.run import Command, RunConfig
    from tasks.deploy.header import ArtifactHeader
    from tasks.runs.log import RunLog

log = logging.getLogger(__name__)


def export(config: RunConfig, folder: Path, lines: RunLog, command: Command) -> None:
    """Write `model_<precision>` into the run folder, in fp32 too where it is another, and compare them.

    Raises:
        InputError: the toolchain is not installed, the model has a part that it cannot write, there are too few
            pictures to calibrate on, or no space.
    """
    wanted: ExportConfig = config.export
    module = tools(wanted.format, what=f"export={wanted.format.value}", to_write=True)
    if wanted.format is Format.web:
        check_runtime(wanted.runtime)
    splits = build_splits(config)
    model, header = load(config, splits, command)
    fix_size(config, header.size)
    graph = ExportGraph(model, header.size, mask=wanted.mask)
    header.heads = graph.described()
    calibration = None
    if wanted.precision is Precision.int8:
        calibration = calibrate_on(
            wanted, splits.train, evaluation_transform(config.transform), size=header.size, padding=header.padding
        )
    run_folder.make(folder)
    lines.attach(folder)
    run_folder.write_config(folder, command.written)
    made: list[tuple[Path, ArtifactHeader]] = []
    for precision in dict.fromkeys((Precision.fp32, wanted.precision)):
        header.precision = precision.value
        with operators_named(f"export={wanted.format.value}", wanted.format.value):
            if precision is Precision.int8 and calibration is not None:
                header.calibration = calibration.told
                integers = ExportGraph(model, header.size, integers=True, mask=wanted.mask)
                round_weights(integers, calibration.views)
                content = module.quantize(integers, calibration.views)
            else:
                content = module.convert(graph, precision)
        path = folder / f"model_{precision.value}{TOOLCHAINS[wanted.format].suffix}"
        write_whole(path, module.with_header(content, header))
        log.info("%s: %.2f MB", path, path.stat().st_size / 1e6)
        made.append((path, read_artifact(str(path))))
    if wanted.compare:
        compare(config, folder, model, graph, splits, made)
    if wanted.format is Format.web:
        path, made_header = made[-1]
        write_page(folder / "web", path, made_header, view_of(config.transform, header.size), wanted.runtime)
        log.info("page: %s; to try it: python -m http.server -d %s", folder / "web" / "index.html", folder / "web")
    log.info("everything is in %s", folder)
