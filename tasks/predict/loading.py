"""The way in from Python: the same configuration as the command line's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import hydra
from omegaconf import OmegaConf

from conf.schema import literal_words, register
from tasks.cli.restore import with_checkpoint
from tasks.config.run import Mode, RunConfig
from tasks.predict.building import build_predictor

if TYPE_CHECKING:
    from pathlib import Path

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
    register()
    words = tuple(literal_words(words))
    with hydra.initialize_config_module("conf", version_base="1.3"):
        composed = hydra.compose("config", overrides=list(words))
        told = {"checkpoint": str(checkpoint), "source": "", "mode": Mode.predict, "trainer": {"accelerator": device}}
        composed.merge_with(told)
        restored = with_checkpoint(composed, words)
        restored.merge_with(told)
    config = OmegaConf.to_object(restored)
    assert isinstance(config, RunConfig)
    return build_predictor(config, words)
