"""From a configuration to the objects of a run."""

from __future__ import annotations

import logging
import sys
import warnings
from typing import TYPE_CHECKING, Any

import lightning as L
import torch
from lightning.pytorch.loggers import Logger, TensorBoardLogger

from backbone.build import build_backbone
from backbone.errors import InputError
from heads.build import build_head
from heads.kinds import Kind
from tasks.config.heads import part_of
from tasks.config.run import Mode, RunConfig, Task
from tasks.config.training import LoggerConfig
from tasks.data import build as data_sets
from tasks.data.labels import LabelMap
from tasks.data.loading.datamodule import DataModule
from tasks.distributed import group
from tasks.distributed.lightning_plugs import devices_and_strategy, without_signals
from tasks.evaluators.classification import ClassificationEvaluator
from tasks.evaluators.detection import DetectionEvaluator
from tasks.evaluators.segmentation import SegmentationEvaluator
from tasks.model import VisionModel
from tasks.training.csv_log import CsvLog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from tasks.data.splits import DataSplits, JointSplits
    from tasks.evaluators.base import Evaluator

log = logging.getLogger(__name__)

EVALUATORS: dict[Kind, Callable[..., Evaluator[Any]]] = {
    Kind.classification: ClassificationEvaluator,
    Kind.detection: DetectionEvaluator,
    Kind.segmentation: SegmentationEvaluator,
}


def build_splits(config: RunConfig) -> DataSplits | JointSplits:
    """The data, checked. To evaluate and to inspect, a training split is not needed."""
    need_train = config.mode not in (Mode.evaluate, Mode.inspect)
    if config.mode is Mode.export:
        need_train = config.export.reads_training_data
    if config.task is Task.multitask:
        needs = {
            name: data_sets.Need(head.kind.value, part_of(name, head)) for name, head in config.named_heads().items()
        }
        return data_sets.build_joint(config.data, needs, need_train=need_train)
    return data_sets.build_splits(config.data, config.task.value, need_train=need_train)


def labels_of(config: RunConfig, splits: DataSplits | JointSplits) -> dict[str, LabelMap]:
    """By the head's name."""
    return {name: splits.of(name).labels for name in config.named_heads()}


def build_model(config: RunConfig, labels: LabelMap | Mapping[str, LabelMap]) -> VisionModel:
    """The backbone, with its weights, and the heads on it.

    Args:
        labels: by the head's name, or those of the only head.
    """
    image_size, specs = config.transform.image_size, config.backbone.specs
    heads = {
        name: build_head(
            one.head,
            specs,
            num_classes=(labels if isinstance(labels, LabelMap) else labels[name]).num_classes,
            image_size=image_size,
        )
        for name, one in config.named_heads().items()
    }
    backbone = build_backbone(config.backbone, list(dict.fromkeys(tap for head in heads.values() for tap in head.taps)))
    model = VisionModel(backbone, heads)
    model.canvas = image_size if getattr(config.transform, "pad", False) else None
    return model.to(memory_format=torch.channels_last) if config.trainer.channels_last else model


def build_data(config: RunConfig, splits: DataSplits | JointSplits) -> DataModule:
    """The loaders of the splits."""
    kinds = {name: head.kind.value for name, head in config.named_heads().items()}
    here = group.place()
    return DataModule(
        splits,
        config.data,
        config.transform,
        kinds,
        config.seed,
        rank=here.rank,
        world_size=here.world_size,
        local_world_size=here.local_world_size,
    )


def build_evaluators(config: RunConfig, splits: DataSplits | JointSplits, split: str) -> dict[str, Evaluator[Any]]:
    """A measure for every head that has the split.

    Args:
        split: val or test.
    """
    evaluators: dict[str, Evaluator[Any]] = {}
    for name, head in config.named_heads().items():
        of_head = splits.of(name)
        data = getattr(of_head, split)
        if data is None:
            continue
        evaluators[name] = EVALUATORS[head.kind](name, data, of_head.labels, config.evaluation)
        if config.task is Task.multitask:
            evaluators[name].prefix = f"{name}/"
        evaluators[name].main_metric = head.metric or evaluators[name].main_metric
    return evaluators


def build_trainer(config: RunConfig, folder: Path, *, callbacks: Sequence[Any] = (), **how: Any) -> L.Trainer:
    """Lightning's trainer on the device of the configuration.

    Raises:
        InputError: there is no such accelerator on this machine, or it has no such precision.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module=r"lightning\..*")
    try:
        trainer = L.Trainer(
            accelerator=config.trainer.accelerator,
            **devices_and_strategy(config),
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
    if config.trainer.precision == "16-mixed" and trainer.strategy.root_device.type == "cpu":
        raise InputError("trainer.precision=16-mixed: needs a GPU; on the CPU say bf16-mixed or 32-true")
    without_signals(trainer)
    return trainer


def build_loggers(config: RunConfig, folder: Path, *, rows: int = 0, step: int | None = None) -> list[Logger]:
    """Files in the run folder, or what a foreign node gives.

    Args:
        rows: of the CSV log that stay, when a training goes on.
        step: from which on TensorBoard forgets what was logged; None: nothing.
    """
    if not isinstance(config.logger, LoggerConfig):
        return [config.logger]
    loggers: list[Logger] = []
    if config.logger.csv:
        loggers.append(CsvLog(folder / "csv", keep=rows))
    if config.logger.tensorboard:
        loggers.append(TensorBoardLogger(folder, name="", version="tensorboard", purge_step=step))
    return loggers
