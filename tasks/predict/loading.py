"""The way in from Python: the same configuration as the command line's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conf.schema import literal_words, register
from tasks.cli.loading import load_predictor

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.predictor import Predictor


def load(checkpoint: str | Path, *words: str, device: str = "auto") -> Predictor:
    """A model that answers about images.

        model = load("runs/detection/.../model.safetensors")
        model = load("torchvision:IMAGENET1K_V2", "task=classification")

    Args:
        checkpoint: a run's model.safetensors, or public weights (a file or `source:name`).
        words: as on the command line: `predict.score=0.5`; public weights need their `task=`, and their
            `backbone=` if it is another than the usual.
        device: auto, cpu, gpu or mps, as `trainer.accelerator`.
    Raises:
        InputError: the checkpoint does not fit, or there is no such device.
    """
    register()
    return load_predictor(checkpoint, literal_words(words), device)
