"""What the modes of the command line do. Everything heavy is imported from here on."""

from __future__ import annotations

import logging
import sys
from typing import Any

from hydra.utils import instantiate

from tasks import run_folder
from tasks.config import Command, Mode, RunConfig
from tasks.run_log import RunLog

log = logging.getLogger(__name__)

UNSOUND = 1
"""Exit code of mode=inspect where training on the data would be spoiled."""


def run(config: RunConfig, command: Command) -> bool:
    """Do what `config.mode` says.

    Returns:
        Whether it was interrupted (what there was by then is evaluated and saved).
    Raises:
        InputError: something that the user gave does not fit.
    """
    with RunLog() as lines:
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
        folder = run_folder.choose(config.run_dir, config.task.value)
        if config.mode is Mode.evaluate and config.predictions is not None:
            from tasks.evaluate import score_predictions

            score_predictions(config, folder)
            return False

        from tasks.machine import tune

        tune()
        if config.mode is Mode.profile:
            from tasks.profile.report import profile

            profile(config, folder, lines)
            return False

        if config.mode is Mode.inspect:
            from tasks.inspect.report import inspect

            found = inspect(config, folder, lines, command)
            if not (found.sound or found.interrupted):
                sys.exit(UNSOUND)
            return found.interrupted

        if config.mode is Mode.export:
            from tasks.deploy.job import export

            export(config, folder, lines, command)
            return False

        if config.mode is Mode.evaluate and config.artifact is not None:
            from tasks.deploy.evaluate import evaluate_artifact

            evaluate_artifact(config, folder, lines, command)
            return False

        if config.mode is Mode.evaluate:
            from tasks.evaluate import evaluate_checkpoint

            evaluate_checkpoint(config, folder, lines, command)
            return False

        from tasks.train import train

        return train(config, folder, lines, command)


def plug(part: Any) -> Any:
    """A typed configuration as it is; a node with `_target_`, somebody else's, is called with plain values."""
    return instantiate({"_convert_": "all", **part}) if isinstance(part, dict) and "_target_" in part else part
