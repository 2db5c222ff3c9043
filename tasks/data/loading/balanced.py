"""How often images are seen, so that rare classes are seen more often. Shapes: N images, K classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from heads.structures import VOID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tasks.data.splits import ClassificationData, DetectionData, VisionData

MOST = 10.0
"""Times as often as any other that an image is seen, at most."""


def classes_of_images(split: VisionData, kind: str) -> list[NDArray[np.int64]]:
    """Classes that each image shows. Masks are read for it, whole; boxes and classes are known without.

    Args:
        kind: what the images are labelled for: the task's name.
    """
    if kind == "classification":
        return list(cast("ClassificationData", split).classes()[:, None])
    if kind == "detection":
        return [np.unique(classes) for _, classes in cast("DetectionData", split).boxes()]
    look = getattr(split, "look", split.__getitem__)
    masks = (cast("Any", look(index)).mask for index in range(len(split)))
    return [np.setdiff1d(mask, [VOID]).astype(np.int64) for mask in masks]


def draws(present: Sequence[NDArray[np.int64]], strength: float) -> NDArray[np.float64]:
    """How often each image is seen in a pass over N images, on average, (N,), N together.

    In proportion to f^-strength, where f is the share of the images that show its rarest class; 1 where it shows none.
    At strength 1, and one class for each image, every class is seen equally often; at 0.5 the repetitions are those of
    repeat factor sampling (LVIS, arXiv:1908.03195, section 5.2) at a threshold that all classes are below.

    Args:
        present: classes of each image.
    """
    images = np.bincount(np.concatenate([np.zeros(0, np.int64), *present]))
    shares = images / len(present)
    rarest = np.array([shares[classes].min() if len(classes) else 1.0 for classes in present])
    weights = rarest**-strength
    weights = np.minimum(weights, MOST * weights.min())
    found: NDArray[np.float64] = weights * (len(weights) / weights.sum())
    return found


def drawn(expected: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Positions of one pass in random order, each so often as expected, rounded up or down by chance, N together.

    Args:
        expected: (N,), N together.
    """
    order = rng.permutation(len(expected))
    ends = np.cumsum(expected[order])
    ticks = (rng.random() + np.arange(len(order))) * (ends[-1] / len(order))
    places = np.searchsorted(ends, ticks, side="right").clip(max=len(order) - 1)
    found: NDArray[np.int64] = rng.permutation(order[places])
    return found
