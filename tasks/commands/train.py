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
from heads.tiling import object_side
from tasks.checkpoints.model_file import OBJECT_SIDE, _header, check_labels
from tasks.commands.budget import steps_within
from tasks.commands.evaluate import evaluate_splits
from tasks.commands.fitting import IMAGES, asks_trials, with_trials
from tasks.commands.last_and_best import write_weights
from tasks.commands.preflight import fit_default_boxes, report_data, weigh_classes
from tasks.config.logger import LoggerConfig
from tasks.config.run import Task
from tasks.config.training import OnNonfinite
from tasks.data.loading.workers import loading_explained
from tasks.data.transforms.build import batch_mixing
from tasks.distributed import group
from tasks.distributed.norms import synchronise
from tasks.distributed.sharing import check_size
from tasks.runs import folder as run_folder
from tasks.training.balance import BALANCES
from tasks.training.callbacks import EvaluationLines, GracefulStop
from tasks.training.ema import MovingAverage
from tasks.training.heads_first import HeadsFirst
from tasks.training.optim import for_steps, scaled
from tasks.training.patience import Patience
from tasks.training.resume.checkpoints import Checkpoints
from tasks.training.resume.claim import Stage
from tasks.training.resume.keeper import CheckpointCallback, VerifiedFiles, check_facts
from tasks.training.resume.longer import say_longer
from tasks.training.teacher import Teacher
from tasks.training.time_split import TimeSplit
from tasks.training.tracker import tracked
from tasks.training.trainer import build_loggers, build_trainer
from tasks.training.watchdog.disk import DiskSpace, full_disk_explained
from tasks.training.watchdog.memory import MemoryGrowth
from tasks.training.watchdog.nonfinite import FiniteLoss, RollBackError
from tasks.vision_task import MAIN, VisionTask

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tasks.build import Builder
    from tasks.commands.job import Job, LoadModel
    from tasks.config.training import OptimConfig, TrainerConfig
    from tasks.data.labels import LabelMap
    from tasks.data.loading.loaders import Loaders
    from tasks.data.splits import DataSplits, DetectionData, JointSplits
    from tasks.evaluators.base import Evaluator
    from tasks.model import VisionModel
    from tasks.training.resume.checkpoints import Checkpoint
    from tasks.training.resume.claim import RunLock
    from tasks.training.tracker import Tracker

log = logging.getLogger(__name__)

EVALUATIONS = 10
"""In a training, unless `trainer.validate_every` says otherwise."""
REAL_DATA = {
    Task.classification: "for your own images say data=folder data.root=FOLDER",
    Task.detection: "for COCO say data=coco data.root=FOLDER",
    Task.segmentation: "for PASCAL VOC say data=voc data.root=FOLDER",
    Task.multitask: "for your own say data=mixed +data@data.parts.objects=coco data.parts.objects.root=FOLDER ..",
}
"""What to say for real data."""
STATE = 4
"""Bytes of a checkpoint for each of the weights', at most: weights, their average and what the optimiser keeps."""


def train(
    job: Job, claim: RunLock, *, seed: int, optim: OptimConfig, trainer: TrainerConfig, multi_scale: bool,
    distill: str | None = None,
) -> bool:  # fmt: skip
    """Train, or resume the training that is in the folder; evaluate the best weights on every split, save.

    Args:
        multi_scale: evaluate segmentation at several scales in the end.
        distill: checkpoint of a run whose logits are learned from besides the labels.
    Returns:
        Whether a signal ended it before its time.
    """
    folder = claim.folder
    with ExitStack() as ending, full_disk_explained(folder), tracked(job.builder.logger, folder) as tracker:
        if claim.stage is Stage.begun:
            ending.enter_context(claim.held())
        return _train(job, claim, ending, tracker, seed, optim, trainer, multi_scale, distill)


def _train(
    job: Job, claim: RunLock, ending: ExitStack, tracker: Tracker, seed: int, optim: OptimConfig,
    trainer: TrainerConfig, multi_scale: bool, distill: str | None,
) -> bool:  # fmt: skip
    builder, folder = job.builder, claim.folder
    _ = builder.device  # whether there is one
    checkpoints = Checkpoints(folder / "checkpoints")
    L.seed_everything(seed, verbose=False)
    with group.first_here():
        splits = builder.splits()
    check_size(splits, training=True)
    labels = builder.labels(splits)
    _introduce(builder, splits, labels, job.command.choices.get("data"))
    model = _start(builder, splits, labels, trainer)
    teacher = _teacher(job.load_model, distill, optim.distill_weight, model, labels)
    if claim.stage is Stage.new:
        ending.enter_context(claim.held())
    header = _header(job.command, labels, model)
    header.provenance |= _object_side(splits, model)
    newest = checkpoints.newest() if claim.is_longer or asks_trials(job, trainer) else None
    job, trainer, found = with_trials(job, trainer, splits, labels, newest)
    builder = job.builder
    header.config["trainer"]["precision"] = trainer.precision
    if IMAGES in found:
        header.config["data"]["batch_size"] = found[IMAGES]
    data = builder.loaders(splits)
    steps_per_epoch = -(-len(data.train()) // trainer.accumulate)
    steps = trainer.max_steps or max(steps_per_epoch * (trainer.max_epochs or 1), trainer.min_steps or 1)
    if trainer.minutes is not None:
        steps = steps_within(builder, splits, labels, trainer, newest, EVALUATIONS)
    facts = _facts(splits, labels, steps, steps_per_epoch) | found
    if newest is not None:
        check_facts(folder, newest, facts, group.place().world_size)  # before anything says the new length
    if group.is_first():
        claim.note(finished=False)
        job.lines.attach(folder)
        run_folder.write_config(folder, header.config)
    group.broadcast(lambda: tracker.begin(header.config))
    report_data(model, splits, labels, builder.transform.image_size)

    data.steps = steps * trainer.accumulate
    evaluators = builder.evaluators(splits, "val")
    stop, disk = GracefulStop(steps), _disk_space(folder, model)
    while True:
        resumed = checkpoints.newest()
        _say_start(claim, resumed, steps)
        if resumed is not None:
            check_facts(folder, resumed, facts, group.place().world_size)
            say_longer(resumed, optim, steps, steps_per_epoch)
        rates = for_steps(scaled(optim, _images_in_step(builder, trainer)), steps)
        task = _task(builder, model, evaluators, rates, steps, steps_per_epoch, seed, teacher)
        split = TimeSplit(folder, synchronise=trainer.synchronise)
        keeper = _keeper(checkpoints, task, facts, stop, trainer, resumed, disk, split)
        try:
            with stop.listening():
                _fit(builder, folder, task, data, keeper, stop, split, tracker, trainer)
        except RollBackError:
            model = _start(builder, splits, labels, trainer)
        else:
            break
    write_weights(folder, task, keeper, header, evaluators, data, builder.device, trainer.precision)
    evaluate_splits(job, trainer, model, splits, multi_scale=multi_scale)
    tracker.log_results(is_done=keeper.is_done)
    if keeper.is_done and group.is_first():
        claim.note(finished=True)
    log.info("everything is in %s", folder)
    return stop.interrupted


def _start(
    builder: Builder, splits: DataSplits | JointSplits, labels: Mapping[str, LabelMap], trainer: TrainerConfig
) -> VisionModel:
    """The model as training begins."""
    model = builder.starting_model(labels)
    fit_default_boxes(model, splits)
    weigh_classes(model, splits)
    if trainer.sync_batchnorm:
        synchronise(model)
    return model


def _teacher(
    load_model: LoadModel, path: str | None, weight: float, model: VisionModel, labels: Mapping[str, LabelMap]
) -> Teacher | None:
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


def _object_side(splits: DataSplits | JointSplits, model: VisionModel) -> dict[str, float]:
    """For the checkpoint's header: mode=predict looks at images in tiles where such objects would be too small."""
    detectors = [name for name, head in model.heads.items() if isinstance(head, SSDLite)]
    if not detectors:
        return {}
    side = object_side(cast("DetectionData", splits.of(detectors[0]).train).ground_truth())
    return {} if side is None else {OBJECT_SIDE: side}


def _disk_space(folder: Path, model: VisionModel) -> DiskSpace:
    """Watch over the room on the run folder's disk, where there is enough for the checkpoints of a model."""
    disk = DiskSpace(folder)
    if group.is_first():
        disk.check(STATE * sum(weight.nbytes for weight in model.parameters()))
    return disk


def _task(
    builder: Builder,
    model: VisionModel,
    evaluators: Mapping[str, Evaluator[Any]],
    optim: OptimConfig,
    steps: int,
    steps_per_epoch: int,
    seed: int,
    teacher: Teacher | None,
) -> VisionTask:
    heads = builder.heads
    return VisionTask(
        model,
        evaluators,
        optim,
        steps=steps,
        steps_per_epoch=steps_per_epoch,
        mixing=batch_mixing(builder.transform, seed),
        balance=BALANCES[optim.balance]({name: head.loss_weight for name, head in heads.items() if head.lr_factor}),
        factors={name: head.lr_factor for name, head in heads.items()},
        teacher=teacher,
    )


def _keeper(
    checkpoints: Checkpoints, task: VisionTask, facts: Mapping[str, Any], stop: GracefulStop, trainer: TrainerConfig,
    resumed: Checkpoint | None, disk: DiskSpace, split: TimeSplit,
) -> CheckpointCallback:  # fmt: skip
    decay = task.optim.ema_decay
    return CheckpointCallback(
        checkpoints, _monitor(task), facts, stop,
        every=trainer.checkpoint_every,
        average=MovingAverage(decay) if decay is not None else None,
        resumed=resumed,
        at_start=trainer.on_nonfinite is OnNonfinite.roll_back,
        disk=disk,
        timed=split.saving,
    )  # fmt: skip


def _metrics(task: VisionTask) -> list[str]:
    """Names of the heads' main metrics."""
    return [f"val/{evaluator.prefix}{evaluator.main_metric}" for evaluator in task.evaluators.values()]


def _monitor(task: VisionTask) -> str:
    """Name of the figure that tells which weights are best."""
    metrics = _metrics(task)
    return metrics[0] if len(metrics) == 1 else f"val/{MAIN}"


def _fit(
    builder: Builder,
    folder: Path,
    task: VisionTask,
    data: Loaders,
    keeper: CheckpointCallback,
    stop: GracefulStop,
    split: TimeSplit,
    tracker: Tracker,
    config: TrainerConfig,
) -> None:
    """Train from where `keeper` goes on from, or from the start.

    Raises:
        RollBackError: begin again from the last checkpoint.
    """
    resumed, steps, optim = keeper.resumed, task.steps, task.optim
    if resumed is not None and keeper.is_done:
        task.load_state_dict(resumed.state["state_dict"])
        return
    every = config.validate_every
    interval = task.steps_per_epoch * every if every else -(-steps // EVALUATIONS)
    watched = FiniteLoss(folder, data, config.on_nonfinite, config.nonfinite_limit)
    callbacks: list[Any] = [stop, watched, EvaluationLines(steps, _metrics(task)), MemoryGrowth(steps), keeper]
    if config.patience is not None:
        callbacks.append(Patience(config.patience, interval, keeper))
    if optim.heads_first:
        callbacks.append(HeadsFirst(optim.heads_first))
    if keeper.average is not None:
        callbacks.append(keeper.average)
    callbacks.append(split)  # the last, so that the moving average is counted
    how: dict[str, Any] = {}
    if resumed is not None:
        data.start_at(resumed.place.epoch, resumed.place.batch)
        how["plugins"] = [VerifiedFiles(resumed)]
    rows, step = (resumed.rows, resumed.place.logged) if resumed else (0, None)
    trainer = build_trainer(
        config,
        folder,
        builder.device,
        find_unused=len(builder.heads) > 1 or optim.heads_first > 0,
        callbacks=callbacks,
        logger=[*build_loggers(builder.logger, folder, rows=rows, step=step), *tracker.loggers],
        log_every_n_steps=builder.logger.every_steps if isinstance(builder.logger, LoggerConfig) else 50,
        max_steps=steps,
        val_check_interval=interval * config.accumulate,
        accumulate_grad_batches=config.accumulate,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        gradient_clip_val=config.gradient_clip,
        enable_checkpointing=False,
        **how,
    )
    images = _images(builder, config)
    log.info("training: %d steps of %s on %s", steps, images, trainer.strategy.root_device)
    with keeper.going_on(), loading_explained():
        trainer.fit(
            task,
            data.train(),
            data.evaluation(data.splits.val),
            ckpt_path=resumed.path if resumed else None,
            weights_only=True,
        )


def _facts(
    splits: DataSplits | JointSplits, labels: Mapping[str, LabelMap], steps: int, steps_per_epoch: int
) -> dict[str, Any]:
    """What must be the same for a training to go on, besides what was left to trials."""
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


def _images_in_step(builder: Builder, trainer: TrainerConfig) -> int:
    """Images of all processes together."""
    batch: int = builder.data.batch_size
    return batch * group.place().world_size * trainer.accumulate


def _images(builder: Builder, trainer: TrainerConfig) -> str:
    """What a step sees, in words."""
    ranks, batches, size = group.place().world_size, trainer.accumulate, builder.data.batch_size
    if ranks == batches == 1:
        return f"{size} images"
    parts = [f"{size} in a batch"]
    parts += [f"{batches} batches"] * (batches > 1) + [f"{ranks} processes"] * (ranks > 1)
    return f"{_images_in_step(builder, trainer)} images ({', '.join(parts)})"


def _introduce(
    builder: Builder, splits: DataSplits | JointSplits, labels: Mapping[str, LabelMap], data: str | None
) -> None:
    """Say what is learned from.

    Args:
        data: the option that was chosen.
    """
    sizes = f"{len(splits.train)} training and {len(splits.val)} validation images"
    built_in = f" (built in; {REAL_DATA[builder.task]})" if data == "shapes" else ""
    classes = [f"{known.num_classes} classes{f' for {name}' * (len(labels) > 1)}" for name, known in labels.items()]
    log.info("data: %s%s, %s, %s, %d px", data, built_in, sizes, ", ".join(classes), builder.transform.image_size)
