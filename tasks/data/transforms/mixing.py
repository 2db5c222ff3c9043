"""Blends the images of a training batch and their classes. Shapes: N images, H W pixels.

Reference: mixup, arXiv:1710.09412; CutMix, arXiv:1905.04899.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from backbone.errors import InputError
from heads.structures import ClassificationTargets

if TYPE_CHECKING:
    from torch import Tensor

    from heads.structures import Batch, Targets


class Mixing:
    """Blend of every image with its neighbour in the batch, by a share that is drawn once for the batch.

    What is drawn follows from the seed and the step alone.

    Args:
        mixup, cutmix: parameters of the Beta distribution of the share; 0 turns that way off. With both on, each step
            draws one of them.
        seed: of the run.
    """

    def __init__(self, mixup: float, cutmix: float, seed: int) -> None:
        self.mixup = mixup
        self.cutmix = cutmix
        self.seed = seed

    def __call__(self, batch: Batch, step: int) -> Batch:
        """The batch with mixed images and both labels.

        Raises:
            InputError: a head learns something else than a class.
        """
        rng = np.random.default_rng([self.seed, step])
        cuts = self.cutmix > 0 and (self.mixup == 0 or rng.random() < 0.5)
        alpha = self.cutmix if cuts else self.mixup
        share = float(rng.beta(alpha, alpha))
        others = batch.images.roll(1, dims=0)
        if cuts:
            images, share = _paste(batch.images, others, share, rng)
        else:
            images = torch.lerp(others.float(), batch.images.float(), share).round().to(torch.uint8)
        targets = {name: _mixed(name, target, share) for name, target in batch.targets.items()}
        return replace(batch, images=images, targets=targets)


def _paste(images: Tensor, others: Tensor, share: float, rng: np.random.Generator) -> tuple[Tensor, float]:
    """A window of the others in the images, and the share of each image that stays its own."""
    height, width = images.shape[-2:]
    rows, columns = (round(side * (1 - share) ** 0.5) for side in (height, width))
    top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
    images = images.clone()
    window = (..., slice(top, top + rows), slice(left, left + columns))
    images[window] = others[window]
    return images, 1 - rows * columns / (height * width)


def _mixed(name: str, target: Targets, share: float) -> Targets:
    if not isinstance(target, ClassificationTargets):
        raise InputError(f"transform.mixup, transform.cutmix: head {name} learns more than a class; set both to 0")
    return ClassificationTargets(target.labels, target.labels.roll(1), torch.tensor(share, device=target.labels.device))
