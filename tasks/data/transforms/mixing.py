"""Blends the images of a training batch and their labels. Shapes: N images, H W pixels.

Reference: mixup, arXiv:1710.09412; CutMix, arXiv:1905.04899; copy-paste, arXiv:2012.07177; ClassMix, arXiv:2007.07936.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from backbone.errors import InputError
from heads.structures import VOID, ClassificationTargets, SegmentationTargets

if TYPE_CHECKING:
    from torch import Tensor

    from heads.structures import Batch, Targets


class CopyPaste:
    """Pastes objects of an image, as its mask outlines them, onto its neighbour in the batch, at the same place.

    As in ClassMix, about half of an image's classes are pasted, one at least; differs: the first class, background in
    most data sets, never is, and partners are labelled both. What is drawn follows from the seed and the step alone.

    Args:
        probability: that something is pasted onto an image.
        seed: of the run.
    """

    def __init__(self, probability: float, seed: int) -> None:
        self.probability = probability
        self.seed = seed

    def __call__(self, batch: Batch, step: int) -> Batch:
        """The batch with pasted objects, in images and masks.

        Raises:
            InputError: something else than one class for every pixel is learned.
        """
        (name, target), *others = batch.targets.items()
        if others or batch.rows or not isinstance(target, SegmentationTargets):
            raise InputError(f"transform.copy_paste: {', '.join(batch.targets)}: only masks can be pasted; set it to 0")
        rng = np.random.default_rng([self.seed, step])
        drawn = torch.from_numpy(rng.random((len(batch.images), VOID + 1)))
        images, masks = batch.images.clone(), target.masks.clone()
        for into, chances in enumerate(drawn):
            source = into - 1
            classes = torch.bincount(target.masks[source].flatten(), minlength=VOID + 1).nonzero().flatten().tolist()
            objects = [label for label in classes if label not in (0, VOID)]
            if not objects or chances[VOID] >= self.probability:
                continue
            chosen = [label for label in objects if chances[label] < 0.5] or [min(objects, key=chances.__getitem__)]
            pasted = torch.isin(target.masks[source], torch.tensor(chosen, device=masks.device, dtype=masks.dtype))
            masks[into][pasted] = target.masks[source][pasted]
            images[into][:, pasted] = batch.images[source][:, pasted]
        return replace(batch, images=images, targets={name: SegmentationTargets(masks)})


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
