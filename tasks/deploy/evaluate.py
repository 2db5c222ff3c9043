"""mode=evaluate and mode=predict with an exported file."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from backbone.errors import InputError
from tasks import run_folder
from tasks.build import build_splits, labels_of
from tasks.checkpoint import check_labels
from tasks.data.labels import LabelMap
from tasks.deploy.artifact import FixedSize, open_artifact
from tasks.deploy.header import read_artifact
from tasks.deploy.loading import check_size, fix_size
from tasks.evaluate import evaluate_splits
from tasks.lightning_task import VisionTask

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.config import Command, RunConfig
    from tasks.run_log import RunLog

log = logging.getLogger(__name__)


def evaluate_artifact(config: RunConfig, folder: Path, lines: RunLog, command: Command) -> None:
    """Evaluate `config.artifact` as a checkpoint is evaluated.

    Raises:
        InputError: the file, its runtime or the data do not fit.
    """
    model, labels = load_artifact(config)
    splits = build_splits(config)
    for name, wanted in labels_of(config, splits).items():
        check_labels(f"artifact={config.artifact}", labels[name], wanted)
    task = VisionTask(model, {}, config.optim, steps=1, steps_per_epoch=1)  # type: ignore[arg-type]
    run_folder.make(folder)
    lines.attach(folder)
    run_folder.write_config(folder, command.written)
    evaluate_splits(config, folder, task, splits)
    log.info("everything is in %s", folder)


def load_artifact(config: RunConfig) -> tuple[FixedSize, dict[str, LabelMap]]:
    """The file of `config.artifact` in its runtime, and its labels by head. `config` is made to fit: on the CPU, and
    with no image larger than the input.

    Raises:
        InputError: the file or its runtime does not fit.
    """
    path = str(config.artifact)
    header = read_artifact(path)
    check_size(f"artifact={path}", header.size, config)
    if config.evaluation.multi_scale:
        raise InputError(f"artifact={path}: takes images of one size; leave evaluation.multi_scale out")
    fix_size(config, header.size)
    config.trainer.accelerator = "cpu"
    config.trainer.precision = "32-true"
    model = open_artifact(path, header)
    log.info("%s: %s, %s, %d x %d pixels", path, header.runtime, header.precision, header.size, header.size)
    return model, {name: LabelMap.from_plain(plain) for name, plain in header.labels.items()}
