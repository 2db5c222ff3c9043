"""mode=evaluate: metrics of a checkpoint or an exported file, or of anybody's results file."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import track

from backbone.errors import InputError
from tasks import inference
from tasks.commands.tiled import tiled
from tasks.data.formats.coco.results import load_annotations, load_results
from tasks.data.loading.workers import loading_explained
from tasks.distributed import group
from tasks.distributed.sharing import check_size
from tasks.evaluators.table import print_scores
from tasks.metrics.coco_map import evaluate_results
from tasks.runs import folder as run_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch.utils.data import DataLoader

    from heads.structures import Batch
    from tasks.commands.job import Job
    from tasks.config.evaluation import EvaluationConfig
    from tasks.config.predict import PredictConfig
    from tasks.config.training import TrainerConfig
    from tasks.data.splits import DataSplits, JointSplits
    from tasks.model import VisionModel

log = logging.getLogger(__name__)


def evaluate(
    job: Job,
    trainer: TrainerConfig,
    *,
    checkpoint: str | None = None,
    artifact: str | None = None,
    multi_scale: bool = False,
    look: PredictConfig | None = None,
) -> None:
    """Evaluate a run's weights, public ones, or an exported file in its runtime.

    Args:
        look: how large images are looked at; None: as a whole alone.
    Raises:
        InputError: the file, its runtime or the data do not fit.
    """
    builder = job.builder
    _ = builder.device  # whether there is one
    with group.first_here():
        splits = builder.splits()
    check_size(splits, training=False)
    model, _ = builder.trained_model(checkpoint=checkpoint, artifact=artifact, data=builder.labels(splits))
    if group.is_first():
        job.begin()
    evaluate_splits(job, trainer, model, splits, multi_scale=multi_scale, look=look)
    log.info("everything is in %s", job.folder)


def evaluate_splits(
    job: Job, trainer: TrainerConfig, model: VisionModel, splits: DataSplits | JointSplits, *, multi_scale: bool,
    look: PredictConfig | None = None,
) -> None:  # fmt: skip
    """Evaluate on `val`, and on `test` if there is one, and write metrics and predictions of each."""
    builder, folder = job.builder, job.folder
    loaders, device = builder.loaders(splits), builder.device
    metrics: dict[str, dict[str, float | None]] = {}
    report = builder.report(folder)
    for name, split in (("val", splits.val), ("test", splits.test)):
        if split is None:
            continue
        evaluators = builder.evaluators(splits, name)
        completed = None if look is None else tiled(builder, look, model, splits, name, split)
        with loading_explained():
            batches = _shown(loaders.evaluation(split), name, trainer.progress_bar)
            by_head = inference.evaluate(
                model, evaluators, batches, device=device, precision=trainer.precision, multi_scale=multi_scale,
                completed=completed,
            )  # fmt: skip
        if not group.is_first():
            continue
        for head, evaluator in evaluators.items():
            found = {f"{evaluator.prefix}{metric}": value for metric, value in by_head[head].items()}
            metrics[name] = metrics.get(name, {}) | found
            run_folder.write_metrics(folder, metrics)
            parts = [head] * bool(evaluator.prefix) + [name] * (name != "val")
            evaluator.write(folder, "".join(f"_{part}" for part in parts))
            evaluator.show(Console(), f"{head}, {name}" if evaluator.prefix else name)
        report.add(name, evaluators)
    if group.is_first():
        report.write()


def _shown(loader: DataLoader[Any], name: str, progress_bar: bool) -> Iterator[Batch]:
    """The batches, with a progress bar where the output is a terminal."""
    hidden = not (progress_bar and sys.stderr.isatty() and group.is_first())
    yield from track(loader, name, total=len(loader), console=Console(stderr=True), transient=True, disable=hidden)


def score(job: Job, section: EvaluationConfig, *, predictions: str) -> None:
    """Score a results file against `data.annotations`, print the table, and keep it if the user named a folder.

    Raises:
        InputError: no annotations are named, or one of the files does not fit.
    """
    annotations = getattr(job.builder.data, "annotations", None)
    if annotations is None:
        raise InputError(f"predictions={predictions}: to be scored against what? say data=coco data.annotations=FILE")
    truth = load_annotations(annotations)
    results = load_results(predictions, truth)
    scores = evaluate_results(truth, results, section.backend.value)
    name = Path(predictions).name
    print_scores(scores, Console(), title=name)
    if job.is_named:
        run_folder.make(job.folder)
        run_folder.write_metrics(job.folder, {"val": scores.metrics()})
        report = job.builder.report(job.folder)
        report.add_results(name, truth, results, scores)
        report.write()
