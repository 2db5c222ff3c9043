"""Values of variables and images, made of their names by both sides: TensorFlow's outputs and the tests."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SAMPLES = 48
"""Values that are kept of an output."""


def variable(name: str, shape: Sequence[int]) -> NDArray[np.float32]:
    """Random values of a variable, of a size that keeps activations about one."""
    random: Any = np.random.RandomState(zlib.crc32(name.encode()))
    if name.endswith("moving_variance"):
        found = random.uniform(0.5, 1.5, shape)
    elif name.endswith("gamma"):
        found = random.uniform(0.7, 1.3, shape)
    elif name.endswith("weights"):
        inputs = np.prod(shape[:2] if name.endswith("depthwise_weights") else shape[:3])
        found = random.standard_normal(shape) * np.sqrt(1.5 / inputs)
    else:
        found = random.standard_normal(shape) * 0.2
    return found.astype(np.float32)


def images(size: int) -> NDArray[np.float32]:
    """One image (1, size, size, 3) of values in [-1, 1]."""
    random: Any = np.random.RandomState(size)
    return random.uniform(-1, 1, (1, size, size, 3)).astype(np.float32)


def sampled(values: NDArray[Any]) -> NDArray[Any]:
    """A few values, spread over all."""
    flat = values.reshape(-1)
    return flat[np.linspace(0, len(flat) - 1, SAMPLES).astype(np.int64)]
