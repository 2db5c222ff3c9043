"""mode=evaluate: figures of a checkpoint, or of anybody's results file."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from backbone.errors import InputError
from tasks.build import build_data, build_evaluators, build_model, build_splits, build_trainer, labels_of
from tasks.checkpoints.model_file import check_labels, is_foreign, known_labels, left_out, load_into, read_header
from tasks.checkpoints.public_weights import load_foreign
from tasks.data.formats.coco.results import load_annotations, load_results
from tasks.data.loading.workers import loading_explained
from tasks.deploy.opening import load_artifact
from tasks.distributed import group
from tasks.distributed.sharing import check_size
from tasks.evaluators.table import print_scores
from tasks.metrics.coco_map import evaluate_results
from tasks.report.page import Report
from tasks.runs import folder as run_folder
from tasks.vision_task import VisionTask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.config.run import Command, RunConfig
    from tasks.data.labels import LabelMap
    from tasks.data.splits import DataSplits, JointSplits
    from tasks.model import VisionModel
    from tasks.runs.log import RunLog

log = logging.getLogger(__name__)


def evaluate_splits(config: RunConfig, folder: Path, task: VisionTask, splits: DataSplits | JointSplits) -> None:
    """Evaluate on `val`, and on `test` if there is one, and write figures and answers of each."""
    data = build_data(config, splits)
    metrics: dict[str, dict[str, float | None]] = {}
    report = Report(config, folder)
    for name, split, loader in (
        ("val", splits.val, data.val_dataloader()),
        ("test", splits.test, data.test_dataloader() if splits.test is not None else None),
    ):
        if split is None or loader is None:
            continue
        task.evaluators = build_evaluators(config, splits, name)
        trainer = build_trainer(config, folder, logger=False)
        with loading_explained():
            trainer.validate(task, loader, verbose=False)
        if not group.is_first():
            continue
        for head, evaluator in task.evaluators.items():
            found = {f"{evaluator.prefix}{figure}": value for figure, value in evaluator.figures().items()}
            metrics[name] = metrics.get(name, {}) | found
            run_folder.write_metrics(folder, metrics)
            parts = [head] * bool(evaluator.prefix) + [name] * (name != "val")
            evaluator.write(folder, "".join(f"_{part}" for part in parts))
            evaluator.show(Console(), f"{head}, {name}" if evaluator.prefix else name)
        report.add(name, task.evaluators)
    if group.is_first():
        report.write()


def evaluate_checkpoint(config: RunConfig, folder: Path, lines: RunLog, command: Command) -> None:
    """Evaluate the weights of `config.checkpoint`: of a run, of whose own configuration `config` is already made, or
    public ones."""
    with group.first_here():
        splits = build_splits(config)
    check_size(splits, training=False)
    labels = labels_of(config, splits)
    if is_foreign(str(config.checkpoint)):
        model = load_foreign(config, labels, command.overrides)
    else:
        model = _load_own(config, labels)
    task = VisionTask(model, {}, config.optim, steps=1, steps_per_epoch=1, multi_scale=config.evaluation.multi_scale)
    if group.is_first():
        run_folder.make(folder)
        lines.attach(folder)
        run_folder.write_config(folder, command.written)
    evaluate_splits(config, folder, task, splits)
    log.info("everything is in %s", folder)


def _load_own(config: RunConfig, wanted: Mapping[str, LabelMap]) -> VisionModel:
    path = str(config.checkpoint)
    header = read_header(path)
    for head, known in known_labels(f"checkpoint={path}", header.labels, wanted).items():
        check_labels(f"checkpoint={path}", known, wanted[head])
    model = build_model(config, wanted)
    load_into(path, model, left_out=left_out(config, header))
    return model


def score_predictions(config: RunConfig, folder: Path) -> None:
    """Score `config.predictions` against `config.data.annotations`, print the table, and keep it if `run_dir` is given.

    Raises:
        InputError: no annotations are named, or one of the files does not fit.
    """
    annotations = getattr(config.data, "annotations", None)
    if annotations is None:
        raise InputError(
            f"predictions={config.predictions}: to be scored against what? say data=coco data.annotations=FILE"
        )
    truth = load_annotations(annotations)
    results = load_results(str(config.predictions), truth)
    scores = evaluate_results(truth, results, config.evaluation.backend.value)
    print_scores(scores, Console(), title=Path(str(config.predictions)).name)
    if config.run_dir is not None:
        run_folder.make(folder)
        run_folder.write_metrics(folder, {"val": scores.figures()})
        report = Report(config, folder)
        report.add_results(Path(str(config.predictions)).name, truth, results, scores)
        report.write()


def evaluate_artifact(config: RunConfig, folder: Path, lines: RunLog, command: Command) -> None:
    """Evaluate `config.artifact` as a checkpoint is evaluated.

    Raises:
        InputError: the file, its runtime or the data do not fit.
    """
    model, labels = load_artifact(config)
    splits = build_splits(config)
    what, wanted = f"artifact={config.artifact}", labels_of(config, splits)
    for name in wanted:
        if name not in labels:
            raise InputError(f"{what}: has no head {name}; it has {', '.join(labels)}: export it again")
        check_labels(what, labels[name], wanted[name])
    task = VisionTask(model, {}, config.optim, steps=1, steps_per_epoch=1)  # type: ignore[arg-type]
    run_folder.make(folder)
    lines.attach(folder)
    run_folder.write_config(folder, command.written)
    evaluate_splits(config, folder, task, splits)
    log.info("everything is in %s", folder)
