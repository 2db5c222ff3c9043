"""mode=export: from a checkpoint to a file for another runtime, and how that compares with the model."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from backbone.disk import write_whole
from backbone.errors import InputError
from heads.kinds import Kind
from tasks.commands.export.calibration import calibrate_on
from tasks.commands.export.comparison import compare
from tasks.commands.export.header import header_of
from tasks.commands.export.layers import tell_layers
from tasks.config.export import Batch, End, Format, Precision
from tasks.data.transforms.build import evaluation_transform
from tasks.deploy.graph import ExportGraph
from tasks.deploy.header import read_artifact
from tasks.deploy.lacking import operators_named
from tasks.deploy.layers import layer_names
from tasks.deploy.rounding import round_weights
from tasks.deploy.toolchains import TOOLCHAINS, tools
from tasks.deploy.web.page import write_page
from tasks.deploy.web.runtime import check_runtime
from tasks.deploy.web.view import view_of

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.commands.job import Job
    from tasks.config.export import ExportConfig
    from tasks.config.training import TrainerConfig
    from tasks.deploy.header import ArtifactHeader

log = logging.getLogger(__name__)


def export(job: Job, section: ExportConfig, trainer: TrainerConfig, *, checkpoint: str) -> None:
    """Write `model_<precision>` into the run folder, in fp32 too where it is another, and compare them.

    Raises:
        InputError: the toolchain is not installed, the model has a part that it cannot write, there are too few
            images to calibrate on, or no space.
    """
    builder, folder = job.builder, job.folder
    module = tools(section.format, what=f"export={section.format.value}", to_write=True)
    if section.format is Format.web:
        check_runtime(section.runtime)
    splits = builder.splits()
    model, labels = builder.trained_model(checkpoint=checkpoint, data=builder.labels(splits))
    header = header_of(job.command, section, model, labels, checkpoint)
    how: dict[str, bool] = {
        "mask": section.mask, "few": section.end is End.detections, "dynamic": section.batch is Batch.dynamic,
    }  # fmt: skip
    graph = ExportGraph(model, header.size, **how)
    if how["few"] and not any(head["kind"] == Kind.detection.value for head in graph.described().values()):
        raise InputError(f"export.end={section.end.value}: no head of checkpoint={checkpoint} detects")
    header.heads = graph.described()
    calibration = None
    if section.precision is Precision.int8:
        calibration = calibrate_on(
            section, splits.train, evaluation_transform(builder.transform), size=header.size, padding=header.padding
        )
    job.begin()
    made: list[tuple[Path, ArtifactHeader]] = []
    for precision in dict.fromkeys((Precision.fp32, section.precision)):
        header.precision = precision.value
        with operators_named(f"export={section.format.value}", section.format.value):
            if precision is Precision.int8 and calibration is not None:
                header.calibration = calibration.told
                integers = ExportGraph(model, header.size, integers=True, **how)
                round_weights(integers, calibration.views)
                content = module.quantize(integers, calibration.views)
            else:
                content = module.convert(graph, precision)
        path = folder / f"model_{precision.value}{TOOLCHAINS[section.format].suffix}"
        write_whole(path, module.with_header(content, header))
        log.info("%s: %.2f MB", path, path.stat().st_size / 1e6)
        made.append((path, read_artifact(str(path))))
    if section.compare:
        compare(job, section, model, graph, splits, made, precision=trainer.precision)
    if section.layers and calibration is not None:
        tell_layers(folder, module, made, layer_names(graph), calibration.views[: section.compared_images])
    if section.format is Format.web:
        path, made_header = made[-1]
        write_page(folder / "web", path, made_header, view_of(builder.transform, header.size), section.runtime)
        log.info("page: %s; to try it: python -m http.server -d %s", folder / "web" / "index.html", folder / "web")
    log.info("everything is in %s", folder)
