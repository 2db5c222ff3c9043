"""Predict on images, from Python.

from tasks.predict import load, read_image

model = load("runs/detection/.../model.safetensors")
image = read_image("street.jpg")  # (H, W, 3) uint8 RGB, upright
answer = model(image)
print(answer)
drawn = model.draw(image, answer)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasks.data.files.images import read_image
    from tasks.predict.loading import load
    from tasks.predictor import Prediction, Predictor

__all__ = ["Prediction", "Predictor", "load", "read_image"]

_HOME = {
    "Prediction": "tasks.predictor",
    "Predictor": "tasks.predictor",
    "load": "tasks.predict.loading",
    "read_image": "tasks.data.files.images",
}


def __getattr__(name: str) -> Any:
    """Import on first use: the command line reads configurations without loading torch."""
    if name not in _HOME:
        raise AttributeError(f"module 'tasks.predict' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
