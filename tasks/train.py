"""mode=train: from a configuration to a run folder."""

from __future__ import annotations

import copy
import logging
from typing import TYPE_CHECKING, Any, cast

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from backbone.errors import InputError
from backbone.mobilenet_v2 import MobileNetV2
from heads.ssdlite.head import SSDLite
from tasks import run_folder
from tasks.build import (
    build_data,
    build_evaluators,
    build_loggers,
    build_model,
    build_splits,
    build_trainer,
    labels_of,
)
from tasks.callbacks import EvaluationLines, FiniteLoss, GentleStop
from tasks.checkpoint import Header, save_model
from tasks.config import Command, LoggerConfig, RunConfig, Task
from tasks.data.datamodule import clean_error
from tasks.detection import report_coverage, report_small
from tasks.ema import MovingAverage
from tasks.evaluate import evaluate_splits
from tasks.heads_first import HeadsFirst
from tasks.lightning_task import MAIN, VisionTask
from tasks.multitask.balance import BALANCES
from tasks.multitask.start import start_heads
from tasks.provenance import provenance
from tasks.time_split import TimeSplit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tasks.data.labels import LabelMap
    from tasks.data.splits import DataSplits, DetectionData, JointSplits
    from tasks.model import VisionModel
    from tasks.run_log import RunLog

log = logging.getLogger(__name__)

EVALUATIONS = 10
"""In a training, unless `trainer.validate_every` says otherwise."""
REAL_DATA = {
    Task.classification: "for your own pictures say data=folder data.root=FOLDER",
    Task.detection: "for COCO say data=coco data.root=FOLDER",
    Task.segmentation: "for PASCAL VOC say data=voc data.root=FOLDER",
    Task.multitask: "for your own say data=mixed +data@data.parts.objects=coco data.parts.objects.root=FOLDER ..",
}
"""What to say for real data."""
GROUPS = ("task", "backbone", "head", "transform", "data")
NAMED = ("heads@", "data@")
"""Configuration groups whose option a checkpoint remembers, and those of which there may be several."""


def train(config: RunConfig, folder: Path, lines: RunLog, command: Command) -> bool:
    """Train, evaluate the best weights on every split, save.

    Returns:
        Whether a signal ended it before its time.
    """
    L.seed_everything(config.seed, verbose=False)
    splits = build_splits(config)
    labels = labels_of(config, splits)
    _introduce(config, splits, labels, command.choices)
    model = build_model(config, labels)
    start_heads(config, model, labels)
    header = _header(command, labels, model)
    run_folder.make(folder)
    lines.attach(folder)
    run_folder.write_config(folder, header.config)
    for name, head in model.heads.items():
        if isinstance(head, SSDLite):
            boxes = cast("DetectionData", splits.of(name).train)
            report_coverage(boxes, labels[name], head)
            report_small(boxes, config.transform.image_size)

    data = build_data(config, splits)
    steps_per_epoch = len(data.train_dataloader())
    steps = data.steps = config.trainer.max_steps or steps_per_epoch * (config.trainer.max_epochs or 1)
    heads = config.named_heads()
    task = VisionTask(
        model,
        build_evaluators(config, splits, "val"),
        config.optim,
        steps=steps,
        steps_per_epoch=steps_per_epoch,
        mixing=config.transform.mixing(config.seed),
        balance=BALANCES[config.optim.balance]({name: head.loss_weight for name, head in heads.items() if head.factor}),
        factors={name: head.factor for name, head in heads.items()},
    )
    stop = GentleStop(steps)
    best = _fit(config, folder, task, data, steps, steps_per_epoch, stop)
    if best:
        task.load_state_dict(torch.load(best, map_location="cpu", weights_only=True)["state_dict"])
    save_model(folder / "model.safetensors", model, header)
    task.multi_scale = config.evaluation.multi_scale
    evaluate_splits(config, folder, task, splits)
    log.info("everything is in %s", folder)
    return stop.interrupted


def _fit(
    config: RunConfig,
    folder: Path,
    task: VisionTask,
    data: L.LightningDataModule,
    steps: int,
    steps_per_epoch: int,
    stop: GentleStop,
) -> str:
    """Train; the path of the best checkpoint, empty if there was no evaluation."""
    every = config.trainer.validate_every
    interval = steps_per_epoch * every if every else -(-steps // EVALUATIONS)
    figures = [f"val/{evaluator.prefix}{evaluator.main_figure}" for evaluator in task.evaluators.values()]
    best = figures[0] if len(figures) == 1 else f"val/{MAIN}"
    checkpoints = ModelCheckpoint(
        folder / "checkpoints", "best", monitor=best, mode="max", save_last=True, enable_version_counter=False
    )
    split = TimeSplit(folder, synchronise=config.trainer.synchronise)
    callbacks: list[Any] = [stop, FiniteLoss(), EvaluationLines(steps, figures), checkpoints]
    if config.optim.heads_first:
        callbacks.append(HeadsFirst(config.optim.heads_first))
    if config.optim.ema_decay is not None:
        callbacks.append(MovingAverage(config.optim.ema_decay))
    callbacks.append(split)  # the last, so that the moving average is counted
    trainer = build_trainer(
        config,
        folder,
        callbacks=callbacks,
        logger=build_loggers(config, folder),
        log_every_n_steps=config.logger.every_steps if isinstance(config.logger, LoggerConfig) else 50,
        max_steps=steps,
        val_check_interval=interval,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        gradient_clip_val=config.trainer.gradient_clip,
    )
    log.info("training: %d steps of %d images on %s", steps, config.data.batch_size, trainer.strategy.root_device)
    try:
        trainer.fit(task, data)
    except InputError as error:
        raise clean_error(error) from error
    return str(checkpoints.best_model_path)


def _introduce(
    config: RunConfig, splits: DataSplits | JointSplits, labels: Mapping[str, LabelMap], choices: Mapping[str, str]
) -> None:
    sizes = f"{len(splits.train)} training and {len(splits.val)} validation images"
    built_in = f" (built in; {REAL_DATA[config.task]})" if choices.get("data") == "shapes" else ""
    classes = [f"{known.num_classes} classes{f' for {name}' * (len(labels) > 1)}" for name, known in labels.items()]
    log.info(
        "data: %s%s, %s, %s, %d px",
        choices.get("data"), built_in, sizes, ", ".join(classes), config.transform.image_size,
    )  # fmt: skip


def _header(command: Command, labels: Mapping[str, LabelMap], model: VisionModel) -> Header:
    """What the checkpoint says of itself: the configuration with everything that the weights decided filled in."""
    written = copy.deepcopy(command.written)
    backbone = written["backbone"]
    source = backbone.get("weights")
    if isinstance(model.backbone, MobileNetV2):
        backbone |= {
            "weights": None,
            "padding": model.backbone.padding.name,
            "bn_eps": model.backbone.bn_eps,
            "input_mean": list(model.backbone.input_mean),
            "input_std": list(model.backbone.input_std),
        }
    return Header(
        config=written,
        choices={
            group: choice for group, choice in command.choices.items() if group in GROUPS or group.startswith(NAMED)
        },
        labels={name: labels[name].to_plain() for name in model.heads},
        provenance=provenance(source),
    )
