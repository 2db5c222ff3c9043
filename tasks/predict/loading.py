"""The way in from Python: the same configuration as the command line's."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import hydra
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from backbone.errors import InputError
from conf.schema import literal_words, register
from tasks.checkpoints.model_file import is_foreign
from tasks.cli.restore import with_checkpoint
from tasks.config.run import Mode, RunConfig
from tasks.predict.building import build_predictor, own_model

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tasks.data.labels import LabelMap
    from tasks.model import VisionModel
    from tasks.predict.predictor import Predictor


def load(checkpoint: str | Path, *words: str, device: str = "auto") -> Predictor:
    """A model that answers about pictures.

        model = load("runs/detection/.../model.safetensors")
        model = load("torchvision:IMAGENET1K_V2", "task=classification")

    Args:
        checkpoint: a run's model.safetensors, or public weights (a file or `source:name`).
        words: as on the command line: `predict.score=0.5`; public weights need `task=classification` or
            `task=segmentation`.
        device: auto, cpu, gpu or mps, as `trainer.accelerator`.
    Raises:
        InputError: the checkpoint does not fit, or there is no such device.
    """
    return build_predictor(*_configured(checkpoint, words, device))


def load_model(checkpoint: str) -> tuple[VisionModel, dict[str, LabelMap]]:
    """The model of a run's checkpoint, on the CPU, and its labels by head.

    Raises:
        InputError: it does not fit.
    """
    if is_foreign(checkpoint):
        raise InputError(f"{checkpoint}: is no checkpoint of a run; give a model.safetensors")
    return own_model(_configured(checkpoint, (), "cpu")[0])


def _configured(checkpoint: str | Path, words: Sequence[str], device: str) -> tuple[RunConfig, tuple[str, ...]]:
    """The configuration of a checkpoint, to predict, and the words that it was made from besides."""
    register()
    words = tuple(literal_words(words))
    inside = GlobalHydra.instance().is_initialized()
    with nullcontext() if inside else hydra.initialize_config_module("conf", version_base="1.3"):
        composed = hydra.compose("config", overrides=list(words))
        told = {"checkpoint": str(checkpoint), "source": "", "mode": Mode.predict, "trainer": {"accelerator": device}}
        composed.merge_with(told)
        restored = with_checkpoint(composed, words)
        restored.merge_with(told)
    config = OmegaConf.to_object(restored)
    assert isinstance(config, RunConfig)
    return config, words
