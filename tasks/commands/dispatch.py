"""What the modes of the command line do. Everything heavy is imported from here on."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.commands.predict.journal import is_begun
from tasks.config.logger import TrackerConfig
from tasks.config.plugged import plugged
from tasks.config.run import Command, Mode, RunConfig
from tasks.data.formats.coco.instances import existing
from tasks.data.places import check_places
from tasks.runs import folder as run_folder
from tasks.runs.log import RunLog
from tasks.runs.provenance import require

if TYPE_CHECKING:
    from tasks.commands.job import LoadModel
    from tasks.distributed.world import World
    from tasks.training.resume.claim import RunLock

log = logging.getLogger(__name__)

UNSOUND = 1
"""Exit code of mode=inspect where training on the data would be spoiled."""


def run(config: RunConfig, command: Command, load_model: LoadModel, world: World | None = None) -> bool:
    """Do what `config.mode` says.

    Args:
        load_model: the model of another run's checkpoint.
        world: of this process, where it is one of several.
    Returns:
        Whether it was interrupted (what there was by then is evaluated and saved).
    Raises:
        InputError: something that the user gave does not fit.
    """
    _check_there(config)
    if world is None:
        with RunLog() as lines:
            return _prepared(config, command, load_model, lines, world)
    from tasks.distributed.group import joined

    with joined(world, config.trainer), RunLog(console=world.rank == 0) as lines:
        return _prepared(config, command, load_model, lines, world)


def _prepared(config: RunConfig, command: Command, load_model: LoadModel, lines: RunLog, world: World | None) -> bool:
    """What is quickly said comes first: other runs, the folder, and whether its training is finished."""
    log.debug("command: %s", " ".join(command.overrides))
    config = plugged(config)
    if config.evaluation.beside and config.mode in (Mode.train, Mode.evaluate):
        from tasks.report.beside import read_runs

        read_runs(config.evaluation.beside)
    folder = _folder(config, world)
    claim = None
    if config.mode is Mode.train:
        claim = _claim(folder, command, world)
        if claim.is_finished:
            claim.show()
            return False
        if config.run_dir is None:
            from tasks.training.resume.claim import suggest

            suggest(folder.parent, command)
    if world is None:
        from tasks.runs.machine import choose_gpu

        choose_gpu(config.trainer)
    return _run(config, command, load_model, folder, lines, claim)


def _folder(config: RunConfig, world: World | None) -> Path:
    """The folder of the run, the same in all processes."""
    named = config.run_dir
    if config.mode is Mode.convert:
        output = Path(str(config.convert.output))
        return output.with_name(f"{output.name}.part")
    if config.mode is Mode.pack or (config.mode is Mode.predict and named and is_begun(Path(named))):
        return Path(str(named))
    name = "predict" if config.mode is Mode.predict else config.task.value
    training = config.mode in (Mode.train, Mode.search)
    if world is None:
        return run_folder.choose(named, name, training=training)
    from tasks.distributed.group import broadcast, remembered

    return broadcast(lambda: remembered(named, name, training=training))


def _check_there(config: RunConfig) -> None:
    """See that files and folders of data and the logger's package are there, before torch is loaded, in seconds.

    Raises:
        InputError: one is missing.
    """
    if config.mode is Mode.train and isinstance(config.logger, TrackerConfig):
        require(f"logger={config.logger.PACKAGE}", [config.logger.PACKAGE], config.logger.PACKAGE)
    if config.predictions is not None:
        if (annotations := getattr(config.data, "annotations", None)) is not None:  # without: the command tells how
            existing(annotations, "data.annotations")
            existing(config.predictions, "predictions")
    elif config.mode is Mode.demo:
        from tasks.commands.demo.server import check_address

        check_address(config.demo.host, config.demo.port)
    elif config.mode not in (Mode.profile, Mode.latency, Mode.predict):
        check_places(config.data, config.task.value, need_train=config.needs_train)


def _claim(folder: Path, command: Command, world: World | None) -> RunLock:
    from tasks.training.resume.claim import RunLock

    if world is None:
        return RunLock(folder, command)
    from tasks.distributed.group import broadcast

    return broadcast(lambda: RunLock(folder, command))


def _run(
    config: RunConfig, command: Command, load_model: LoadModel, folder: Path, lines: RunLog, claim: RunLock | None
) -> bool:
    from tasks.build import Builder
    from tasks.commands.job import Job
    from tasks.runs.machine import tune

    tune(deterministic=config.trainer.deterministic)
    job = Job(
        builder=Builder(config, folder), folder=folder, is_named=config.run_dir is not None, lines=lines,
        command=command, load_model=load_model,
    )  # fmt: skip
    multi_scale, file = config.evaluation.multi_scale, {"checkpoint": config.checkpoint, "artifact": config.artifact}
    match config.mode:
        case Mode.train:
            from tasks.commands.train import train

            assert claim is not None
            return train(
                job, claim, seed=config.seed, optim=config.optim, trainer=config.trainer, multi_scale=multi_scale,
                distill=config.distill,
            )  # fmt: skip
        case Mode.evaluate if config.predictions is not None:
            from tasks.commands.evaluate import score

            score(job, config.evaluation, predictions=config.predictions)
        case Mode.evaluate:
            from tasks.commands.evaluate import evaluate

            evaluate(job, config.trainer, multi_scale=multi_scale, look=config.predict, **file)
        case Mode.predict:
            from tasks.commands.predict.job import predict

            return predict(job, config.predict, config.trainer, source=str(config.source), **file)
        case Mode.demo:
            from tasks.commands.demo.job import demo

            demo(job, config.demo, config.predict, **file)
        case Mode.inspect:
            from tasks.commands.inspect.report import inspect

            found = inspect(job, config.inspect, config.trainer, seed=config.seed)
            if not (found.sound or found.interrupted):
                sys.exit(UNSOUND)
            return found.interrupted
        case Mode.search:
            from tasks.commands.search.job import search

            return search(job, config.search, config.latency, checkpoint=config.checkpoint, seed=config.seed)
        case Mode.latency:
            from tasks.commands.latency import latency

            latency(job, config.latency)
        case Mode.profile:
            from tasks.commands.profile.report import profile

            profile(job, config.profile, config.trainer)
        case Mode.export:
            from tasks.commands.export.job import export

            export(job, config.export, config.trainer, checkpoint=str(config.checkpoint))
        case Mode.convert:
            from tasks.commands.convert.job import convert

            convert(job, config.convert)
        case Mode.pack:
            from tasks.commands.pack.job import pack

            pack(job, config.pack, seed=config.seed)
    return False
