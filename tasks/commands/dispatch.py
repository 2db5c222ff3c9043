"""What the modes of the command line do. Everything heavy is imported from here on."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING

from tasks.cli.compose import _read, plug
from tasks.cli.leaving import CommandFailed
from tasks.config.run import Command, Mode, RunConfig
from tasks.data.formats.coco.results import existing
from tasks.data.places import check_places
from tasks.distributed.launch import launch, processes
from tasks.distributed.world import check, started
from tasks.runs import folder as run_folder
from tasks.runs.log import RunLog

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from omegaconf import DictConfig

    from tasks.distributed.world import World
    from tasks.training.resume.claim import RunLock

log = logging.getLogger(__name__)

UNSOUND = 1
"""Exit code of mode=inspect where training on the data would be spoiled."""


def run(config: RunConfig, command: Command, world: World | None = None) -> bool:
    """Do what `config.mode` says.

    Args:
        world: of this process, where it is one of several.
    Returns:
        Whether it was interrupted (what there was by then is evaluated and saved).
    Raises:
        InputError: something that the user gave does not fit.
    """
    _check_files(config)
    training = config.mode in (Mode.train, Mode.search)
    if world is None:
        return _do(config, command, lambda: run_folder.choose(config.run_dir, config.task.value, training=training))
    from tasks.distributed.group import broadcast, joined, remembered

    with joined(world, config.trainer):
        return _do(
            config, command,
            lambda: broadcast(lambda: remembered(config.run_dir, config.task.value, training=training)),
            decide=broadcast, speaks=world.rank == 0,
        )  # fmt: skip


def _check_files(config: RunConfig) -> None:
    """See that files and folders of data are there, before torch is loaded, which takes seconds.

    Raises:
        InputError: one is missing.
    """
    if config.predictions is not None:
        if (annotations := getattr(config.data, "annotations", None)) is not None:  # without: the command tells how
            existing(annotations, "data.annotations")
            existing(config.predictions, "predictions")
    elif config.mode not in (Mode.profile, Mode.latency, Mode.predict):
        need_train = config.mode in (Mode.train, Mode.pack, Mode.search)
        if config.mode is Mode.export:
            need_train = config.export.reads_training_data
        check_places(config.data, config.task.value, need_train=need_train)


def _alone(claim: Callable[[], RunLock]) -> RunLock:
    return claim()


def _do(
    config: RunConfig,
    command: Command,
    choose_folder: Callable[[], Path],
    *,
    decide: Callable[[Callable[[], RunLock]], RunLock] = _alone,
    speaks: bool = True,
) -> bool:
    with RunLog(console=speaks) as lines:
        log.debug("command: %s", " ".join(command.overrides))
        for part in ("backbone", "head", "transform", "data", "logger"):
            setattr(config, part, plug(getattr(config, part)))
        for head in (config.heads or {}).values():
            head.head = plug(head.head)
        if config.mode is Mode.predict:
            from tasks.commands.predict.job import predict
            from tasks.runs.machine import tune

            tune()
            return predict(config, lines, command)
        if config.mode is Mode.pack:
            from tasks.commands.pack.job import pack

            pack(config, lines)
            return False
        if config.evaluation.beside:
            from tasks.report.beside import read_runs

            read_runs(config.evaluation.beside)  # a wrong name is said before anything expensive
        if config.mode in (Mode.train, Mode.evaluate, Mode.export):
            from tasks.runs.machine import check_accelerator

            check_accelerator(config.trainer.accelerator)
        folder = choose_folder()
        if config.mode is Mode.evaluate and config.predictions is not None:
            from tasks.commands.evaluate import score_predictions

            score_predictions(config, folder)
            return False

        if config.mode is Mode.train:
            from tasks.training.resume.claim import RunLock, suggest

            claim = decide(lambda: RunLock(folder, command))
            if claim.is_finished:
                claim.show()
                return False
            if config.run_dir is None:
                suggest(folder.parent, command)

        from tasks.runs.machine import tune

        tune()
        if config.mode is Mode.train:
            from tasks.commands.train import train

            return train(config, claim, lines, command)
        if config.mode is Mode.inspect:
            from tasks.commands.inspect.report import inspect

            found = inspect(config, folder, lines, command)
            if not (found.sound or found.interrupted):
                sys.exit(UNSOUND)
            return found.interrupted
        if config.mode is Mode.search:
            from tasks.commands.search.job import search

            return search(config, folder, lines, command)
        _measure_or_export(config, folder, lines, command)
        return False


def _measure_or_export(config: RunConfig, folder: Path, lines: RunLog, command: Command) -> None:
    """The modes that cannot be interrupted gently."""
    if config.mode is Mode.profile:
        from tasks.commands.profile.report import profile

        profile(config, folder, lines)
    elif config.mode is Mode.latency:
        from tasks.commands.latency import latency

        latency(config, folder, lines)
    elif config.mode is Mode.export:
        from tasks.commands.export.job import export

        export(config, folder, lines, command)
    elif config.artifact is not None:
        from tasks.commands.evaluate import evaluate_artifact

        evaluate_artifact(config, folder, lines, command)
    else:
        from tasks.commands.evaluate import evaluate_checkpoint

        evaluate_checkpoint(config, folder, lines, command)


def run_composed(composed: DictConfig) -> None:
    """Run what is composed; its node `hydra` says from which words and options."""
    config, command = _read(composed)
    world = started()
    check(config, world)
    if (count := processes(config)) > 1:
        if code := launch(count, [sys.executable, "-P", "-m", "tasks.run", *sys.argv[1:]]):
            raise CommandFailed(code)
        return

    if world is not None:
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # what torch says of a lost process, we say in one line

    if run(config, command, world):
        raise KeyboardInterrupt
