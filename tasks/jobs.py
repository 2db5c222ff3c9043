"""What the modes of the command line do. Everything heavy is imported from here on."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

from hydra.utils import instantiate

from tasks import run_folder
from tasks.config import Command, Mode, RunConfig
from tasks.run_log import RunLog

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tasks.distributed.world import World
    from tasks.resume.claim import Claim

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
    training = config.mode is Mode.train
    if world is None:
        return _run(config, command, lambda: run_folder.choose(config.run_dir, config.task.value, training=training))
    from tasks.distributed.group import first_decides, joined, remembered

    with joined(world, config.trainer):
        return _run(
            config, command,
            lambda: first_decides(lambda: remembered(config.run_dir, config.task.value, training=training)),
            decide=first_decides, speaks=world.rank == 0,
        )  # fmt: skip


def _alone(claim: Callable[[], Claim]) -> Claim:
    return claim()


def _run(
    config: RunConfig,
    command: Command,
    choose_folder: Callable[[], Path],
    *,
    decide: Callable[[Callable[[], Claim]], Claim] = _alone,
    speaks: bool = True,
) -> bool:
    with RunLog(console=speaks) as lines:
        log.debug("command: %s", " ".join(command.overrides))
        for part in ("backbone", "head", "transform", "data", "logger"):
            setattr(config, part, plug(getattr(config, part)))
        for head in (config.heads or {}).values():
            head.head = plug(head.head)
        if config.mode is Mode.predict:
            from tasks.machine import tune
            from tasks.predict.job import predict

            tune()
            return predict(config, lines, command)
        if config.mode is Mode.pack:
            from tasks.pack.job import pack

            pack(config, lines)
            return False
        if config.evaluation.beside:
            from tasks.report.page.beside import read_runs

            read_runs(config.evaluation.beside)  # a wrong name is said before anything expensive
        if config.mode in (Mode.train, Mode.evaluate, Mode.export):
            from tasks.machine import check_accelerator

            check_accelerator(config.trainer.accelerator)
        folder = choose_folder()
        if config.mode is Mode.evaluate and config.predictions is not None:
            from tasks.evaluate import score_predictions

            score_predictions(config, folder)
            return False

        if config.mode is Mode.train:
            from tasks.resume.claim import Claim, suggest

            claim = decide(lambda: Claim(folder, command))
            if claim.is_finished:
                claim.show()
                return False
            if config.run_dir is None:
                suggest(folder.parent, command)

        from tasks.machine import tune

        tune()
        if config.mode is Mode.train:
            from tasks.train import train

            return train(config, claim, lines, command)
        if config.mode is Mode.inspect:
            from tasks.inspect.report import inspect

            found = inspect(config, folder, lines, command)
            if not (found.sound or found.interrupted):
                sys.exit(UNSOUND)
            return found.interrupted
        _measure_or_export(config, folder, lines, command)
        return False


def _measure_or_export(config: RunConfig, folder: Path, lines: RunLog, command: Command) -> None:
    """The modes that cannot be interrupted gently."""
    if config.mode is Mode.profile:
        from tasks.profile.report import profile

        profile(config, folder, lines)
    elif config.mode is Mode.export:
        from tasks.deploy.job import export

        export(config, folder, lines, command)
    elif config.artifact is not None:
        from tasks.deploy.evaluate import evaluate_artifact

        evaluate_artifact(config, folder, lines, command)
    else:
        from tasks.evaluate import evaluate_checkpoint

        evaluate_checkpoint(config, folder, lines, command)


def plug(part: Any) -> Any:
    """A typed configuration as it is; a node with `_target_`, somebody else's, is called with plain values."""
    return instantiate({"_convert_": "all", **part}) if isinstance(part, dict) and "_target_" in part else part
