"""A model from a file, configured as the file says and as words say on top."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import hydra
from hydra.core.global_hydra import GlobalHydra

from backbone.errors import InputError
from tasks.checkpoints.model_file import is_foreign
from tasks.cli.compose import checked
from tasks.cli.restore import with_checkpoint
from tasks.config.plugged import plugged
from tasks.config.run import Mode, RunConfig

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tasks.data.labels import LabelMap
    from tasks.model import VisionModel
    from tasks.predictor import Predictor


def load_predictor(checkpoint: str | Path, words: Sequence[str], device: str) -> Predictor:
    """See `tasks.predict.load`."""
    from tasks.build import Builder

    config = _configured(checkpoint, words, device)
    return Builder(config).predictor(config.predict, checkpoint=config.checkpoint, artifact=config.artifact)


def load_model(checkpoint: str) -> tuple[VisionModel, dict[str, LabelMap]]:
    """The model of a run's checkpoint, on the CPU, and its labels by head.

    Raises:
        InputError: it does not fit.
    """
    from tasks.build import Builder

    if is_foreign(checkpoint):
        raise InputError(f"{checkpoint}: is no checkpoint of a run; give a model.safetensors")
    return Builder(_configured(checkpoint, (), "cpu")).trained_model(checkpoint=checkpoint)


def _configured(checkpoint: str | Path, words: Sequence[str], device: str) -> RunConfig:
    """The configuration of a checkpoint, to predict; options are registered."""
    inside = GlobalHydra.instance().is_initialized()
    with nullcontext() if inside else hydra.initialize_config_module("conf", version_base="1.3"):
        composed = hydra.compose("config", overrides=list(words))
        told = {"checkpoint": str(checkpoint), "source": "", "mode": Mode.predict, "trainer": {"accelerator": device}}
        composed.merge_with(told)
        restored = with_checkpoint(composed, words)
        restored.merge_with(told)
        return plugged(checked(restored))
