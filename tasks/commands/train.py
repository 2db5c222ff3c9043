"""mode=train: from a configuration to a run folder."""

from __future__ import annotations

import json
import logging
import zlib
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, cast

import lightning as L
import torch

from heads.ssdlite.head import SSDLite
from tasks.build import (
    build_data,
    build_evaluators,
    build_loggers,
    build_model,
    build_splits,
    build_trainer,
    labels_of,
)
from tasks.checkpoints.join_heads import start_heads
from tasks.checkpoints.model_file import _header, check_labels, save_model
from tasks.commands.evaluate import evaluate_splits
from tasks.commands.preflight import report_coverage, report_small
from tasks.config.run import Command, RunConfig, Task
from tasks.config.training import LoggerConfig, OnNonfinite
from tasks.data.loading.workers import loading_explained
from tasks.data.transforms.build import batch_mixing
from tasks.distributed import group
from tasks.distributed.norms import synchronise
from tasks.distributed.sharing import check_size
from tasks.predict.loading import load_model
from tasks.runs import folder as run_folder
from tasks.training.balance import BALANCES
from tasks.training.callbacks import EvaluationLines, GracefulStop
from tasks.training.ema import MovingAverage
from tasks.training.heads_first import HeadsFirst
from tasks.training.optim import scaled
from tasks.training.resume.checkpoints import Checkpoints
from tasks.training.resume.claim import Stage
from tasks.training.resume.keeper import CheckpointCallback, VerifiedFiles, check_facts
from tasks.training.teacher import Teacher
from tasks.training.time_split import TimeSplit
from tasks.training.watchdog.disk import DiskSpace, full_disk_explained
from tasks.training.watchdog.memory import MemoryGrowth
from tasks.training.watchdog.nonfinite import FiniteLoss, RollBackError
from tasks.vision_task import MAIN, VisionTask

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tasks.data.labels import LabelMap
    from tasks.data.loading.datamodule import DataModule
    from tasks.data.splits import DataSplits, DetectionData, JointSplits
    from tasks.evaluators.base import Evaluator
    from tasks.model import VisionModel
    from tasks.runs.log import RunLog
    from tasks.training.resume.checkpoints import Checkpoint
    from tasks.training.resume.claim import RunLock

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
STATE = 4
"""Bytes of a checkpoint for each of the weights', at most: weights, their average and what the optimiser keeps."""


def train(config: RunConfig, claim: RunLock, lines: RunLog, command: Command) -> bool:
    """Train, or go on with the training that is in the folder; evaluate the best weights on every split, save.

    Returns:
        Whether a signal ended it before its time.
    """
    with ExitStack() as ending, full_disk_explained(claim.folder):
        if claim.stage is Stage.begun:
            ending.enter_context(claim.held())
        return _train(config, claim, lines, command, ending)


def _train(config: RunConfig, claim: RunLock, lines: RunLog, command: Command, ending: ExitStack) -> bool:
    folder = claim.folder
    L.seed_everything(config.seed, verbose=False)
    with group.first_here():
        splits = build_splits(config)
    check_size(splits, training=True)
    labels = labels_of(config, splits)
    _introduce(config, splits, labels, command.choices)
    model = _start(config, labels)
    teacher = _teacher(config.distill, config.optim.distill_weight, model, labels)
    header = _header(command, labels, model)
    if claim.stage is Stage.new:
        ending.enter_context(claim.held())
    if group.is_first():
        claim.note(finished=False)
        lines.attach(folder)
        run_folder.write_config(folder, header.config)
    for name, head in model.heads.items():
        if isinstance(head, SSDLite):
            boxes = cast("DetectionData", splits.of(name).train)
            report_coverage(boxes, labels[name], head)
            report_small(boxes, config.transform.image_size)

    data = build_data(config, splits)
    steps_per_epoch = -(-len(data.train_dataloader()) // config.trainer.accumulate)
    steps = config.trainer.max_steps or steps_per_epoch * (config.trainer.max_epochs or 1)
    data.steps = steps * config.trainer.accumulate
    evaluators = build_evaluators(config, splits, "val")
    stop = GracefulStop(steps)
    checkpoints = Checkpoints(folder / "checkpoints")
    disk = DiskSpace(folder)
    if group.is_first():
        disk.check(STATE * sum(weight.nbytes for weight in model.parameters()))
    facts = _facts(splits, labels, steps, steps_per_epoch)
    while True:
        resumed = checkpoints.newest()
        _say_start(claim, resumed, steps)
        if resumed is not None:
            check_facts(folder, resumed, facts, group.place().world_size)
        task = _task(config, model, evaluators, steps, steps_per_epoch, teacher)
        split = TimeSplit(folder, synchronise=config.trainer.synchronise)
        keeper = CheckpointCallback(
            checkpoints,
            _monitor(task),
            facts,
            stop,
            every=config.trainer.checkpoint_every,
            average=MovingAverage(config.optim.ema_decay) if config.optim.ema_decay is not None else None,
            resumed=resumed,
            at_start=config.trainer.on_nonfinite is OnNonfinite.roll_back,
            disk=disk,
            timed=split.saving,
        )
        try:
            with stop.listening():
                _fit(config, folder, task, data, keeper, stop, split, steps_per_epoch)
        except RollBackError:
            model = _start(config, labels)
        else:
            break
    if keeper.best and group.is_first():  # the others get them when the evaluation begins
        task.load_state_dict(keeper.best_weights())
    if group.is_first():
        save_model(folder / "model.safetensors", model, header)
    task.multi_scale = config.evaluation.multi_scale
    evaluate_splits(config, folder, task, splits)
    if keeper.is_done and group.is_first():
        claim.note(finished=True)
    log.info("everything is in %s", folder)
    return stop.interrupted


def _start(config: RunConfig, labels: Mapping[str, LabelMap]) -> VisionModel:
    """The model as training begins."""
    model = build_model(config, labels)
    start_heads(config, model, labels)
    if config.trainer.sync_batchnorm:
        synchronise(model)
    return model


def _teacher(path: str | None, weight: float, model: VisionModel, labels: Mapping[str, LabelMap]) -> Teacher | None:
    """The network of `distill`.

    Raises:
        InputError: it has other heads or classes than the one that learns.
    """
    if path is None:
        return None
    what = f"distill={path}"
    theirs, known = load_model(path)
    teacher = Teacher(theirs, weight)
    teacher.check(what, model)
    for name, wanted in labels.items():
        check_labels(what, known[name], wanted)
    return teacher


def _task(
    config: RunConfig,
    model: VisionModel,
    evaluators: Mapping[str, Evaluator[Any]],
    steps: int,
    steps_per_epoch: int,
    teacher: Teacher | None,
) -> VisionTask:
    heads = config.named_heads()
    return VisionTask(
        model,
        evaluators,
        scaled(config.optim, images_in_step(config)),
        steps=steps,
        steps_per_epoch=steps_per_epoch,
        mixing=batch_mixing(config.transform, config.seed),
        balance=BALANCES[config.optim.balance](
            {name: head.loss_weight for name, head in heads.items() if head.lr_factor}
        ),
        factors={name: head.lr_factor for name, head in heads.items()},
        teacher=teacher,
    )


def _figures(task: VisionTask) -> list[str]:
    """Names of the heads' main figures."""
    return [f"val/{evaluator.prefix}{evaluator.main_metric}" for evaluator in task.evaluators.values()]


def _monitor(task: VisionTask) -> str:
    """Name of the figure that tells which weights are best."""
    figures = _figures(task)
    return figures[0] if len(figures) == 1 else f"val/{MAIN}"


def _fit(
    config: RunConfig,
    folder: Path,
    task: VisionTask,
    data: DataModule,
    keeper: CheckpointCallback,
    stop: GracefulStop,
    split: TimeSplit,
    steps_per_epoch: int,
) -> None:
    """Train from where `keeper` goes on from, or from the start.

    Raises:
        RollBackError: begin again from the last checkpoint.
    """
    resumed, steps = keeper.resumed, task.steps
    if resumed is not None and keeper.is_done:
        task.load_state_dict(resumed.state["state_dict"])
        return
    every = config.trainer.validate_every
    interval = steps_per_epoch * every if every else -(-steps // EVALUATIONS)
    watched = FiniteLoss(folder, config.trainer.on_nonfinite, config.trainer.nonfinite_limit)
    callbacks: list[Any] = [stop, watched, EvaluationLines(steps, _figures(task)), MemoryGrowth(steps), keeper]
    if config.optim.heads_first:
        callbacks.append(HeadsFirst(config.optim.heads_first))
    if keeper.average is not None:
        callbacks.append(keeper.average)
    callbacks.append(split)  # the last, so that the moving average is counted
    how: dict[str, Any] = {}
    if resumed is not None:
        data.start_at(resumed.place.epoch, resumed.place.batch)
        how["plugins"] = [VerifiedFiles(resumed)]
    trainer = build_trainer(
        config,
        folder,
        callbacks=callbacks,
        logger=build_loggers(
            config, folder, rows=resumed.rows if resumed else 0, step=resumed.place.logged if resumed else None
        ),
        log_every_n_steps=config.logger.every_steps if isinstance(config.logger, LoggerConfig) else 50,
        max_steps=steps,
        val_check_interval=interval * config.trainer.accumulate,
        accumulate_grad_batches=config.trainer.accumulate,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        gradient_clip_val=config.trainer.gradient_clip,
        enable_checkpointing=False,
        **how,
    )
    log.info("training: %d steps of %s on %s", steps, _images(config), trainer.strategy.root_device)
    with keeper.going_on(), loading_explained():
        trainer.fit(task, data, ckpt_path=resumed.path if resumed else None, weights_only=True)


def _facts(
    splits: DataSplits | JointSplits, labels: Mapping[str, LabelMap], steps: int, steps_per_epoch: int
) -> dict[str, Any]:
    """What must be the same for a training to go on."""
    classes = {
        f"classes of {name}": f"{known.num_classes} ({zlib.crc32(json.dumps(known.names).encode()):08x})"
        for name, known in labels.items()
    }
    return {
        "steps": steps,
        "steps in a pass": steps_per_epoch,
        "training images": len(splits.train),
        "validation images": len(splits.val),
        **classes,
        "torch": str(torch.__version__),
    }


def _say_start(claim: RunLock, resumed: Checkpoint | None, steps: int) -> None:
    if resumed is not None:
        log.info("going on after step %d of %d, from %s", resumed.place.step, steps, resumed.path.name)
    elif claim.stage is Stage.begun:
        log.info("%s holds no checkpoint yet: the training begins again", claim.folder)


def images_in_step(config: RunConfig) -> int:
    """Of all processes together."""
    batch: int = config.data.batch_size
    return batch * group.place().world_size * config.trainer.accumulate


def _images(config: RunConfig) -> str:
    """What a step sees, in words."""
    ranks, batches = group.place().world_size, config.trainer.accumulate
    if ranks == batches == 1:
        return f"{config.data.batch_size} images"
    parts = [f"{config.data.batch_size} in a batch"]
    parts += [f"{batches} batches"] * (batches > 1) + [f"{ranks} processes"] * (ranks > 1)
    return f"{images_in_step(config)} images ({', '.join(parts)})"


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
