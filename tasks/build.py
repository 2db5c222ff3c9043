"""From a configuration to the objects of a run."""

from __future__ import annotations

import logging
import sys
import warnings
from typing import TYPE_CHECKING, Any

import lightning as L
import torch
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from backbone.errors import InputError
from tasks.classification import ClassificationEvaluator
from tasks.config import LoggerConfig, Mode, RunConfig, Task
from tasks.data.datamodule import DataModule
from tasks.detection import DetectionEvaluator
from tasks.model import VisionModel
from tasks.segmentation import SegmentationEvaluator

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tasks.data.labels import LabelMap
    from tasks.data.splits import DataSplits
    from tasks.evaluator import Evaluator

log = logging.getLogger(__name__)

EVALUATORS: dict[Task, Callable[..., Evaluator[Any]]] = {
    Task.classification: ClassificationEvaluator,
    Task.detection: DetectionEvaluator,
    Task.segmentation: SegmentationEvaluator,
}


def build_splits(config: RunConfig) -> DataSplits:
    """The data, checked. To evaluate and to inspect, a training split is not needed."""
    need_train = config.mode not in (Mode.evaluate, Mode.inspect)
    splits: DataSplits = config.data.build(config.task.value, need_train=need_train)
    return splits


def build_model(config: RunConfig, labels: LabelMap) -> VisionModel:
    """The backbone, with its weights, and the head on it."""
    image_size = config.transform.image_size
    head = config.head.build(config.backbone.specs, num_classes=labels.num_classes, image_size=image_size)
    backbone = config.backbone.build(head.taps)
    model = VisionModel(backbone, {config.task.value: head})
    return model.to(memory_format=torch.channels_last) if config.trainer.channels_last else model


def build_data(config: RunConfig, splits: DataSplits) -> DataModule:
    """The loaders of the splits."""
    return DataModule(splits, config.data, config.transform, {config.task.value: config.task.value}, config.seed)


def build_evaluators(config: RunConfig, data: Any, labels: LabelMap) -> dict[str, Evaluator[Any]]:
    """A measure for every head, of a split that has what the task asks of it."""
    return {config.task.value: EVALUATORS[config.task](config.task.value, data, labels, config.evaluation)}


def build_trainer(config: RunConfig, folder: Path, *, callbacks: Sequence[Any] = (), **how: Any) -> L.Trainer:
    """Lightning's trainer on the device of the configuration.

    Raises:
        InputError: there is no such accelerator on this machine.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module=r"lightning\..*")
    try:
        return L.Trainer(
            accelerator=config.trainer.accelerator,
            devices=1,
            precision=config.trainer.precision,  # type: ignore[arg-type]
            deterministic=config.trainer.deterministic,
            enable_progress_bar=config.trainer.progress_bar and sys.stderr.isatty(),
            enable_model_summary=False,
            use_distributed_sampler=False,
            default_root_dir=folder,
            callbacks=list(callbacks),
            **how,
        )
    except (ValueError, RuntimeError) as error:
        if "accelerator" not in str(error):
            raise
        reason = str(error).splitlines()[0]
        raise InputError(f"trainer.accelerator={config.trainer.accelerator}: {reason}") from error


def build_loggers(config: RunConfig, folder: Path) -> list[Logger]:
    """Files in the run folder, or what a foreign node gives."""
    if not isinstance(config.logger, LoggerConfig):
        return [config.logger]
    loggers: list[Logger] = []
    if config.logger.csv:
        loggers.append(CSVLogger(folder, name="", version="csv"))
    if config.logger.tensorboard:
        loggers.append(TensorBoardLogger(folder, name="", version="tensorboard"))
    return loggers
