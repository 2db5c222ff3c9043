"""Lovász-Softmax loss. Shapes: N images, K classes, h w cells of the logits, H W pixels, P pixels looked at.

Reference: The Lovász-Softmax loss, arXiv:1705.08790, Algorithm 1, averaged over the classes that occur. Differs: looks
at every fourth row and column only, as it sorts all pixels for every class.
"""

from __future__ import annotations

import torch
from torch import Tensor

from heads.segmentation.upsample import counted_pixels

STRIDE = 4
"""Rows and columns of the masks of which one is looked at."""


def lovasz_loss(logits: Tensor, masks: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Mean over the classes that occur in a batch of the convex extension of 1 - IoU over its pixels.

    Ignored pixels count nowhere. Zero where there are no others. Of several processes each has that of its own images.

    Args:
        logits: (N, K, h, w).
        masks: (N, H, W) uint8; 255 is ignored.
        rows, columns: (H, h) and (W, w), which interpolate (see `heads.segmentation.upsample.matrix`).
    """
    rows, columns = rows[::STRIDE], columns[::STRIDE]
    scores, labels = [], []
    for of_image, truth_of_image in counted_pixels(logits, masks[:, ::STRIDE, ::STRIDE], rows, columns):
        scores.append(of_image)
        labels.append(truth_of_image)
    probabilities, truth = torch.cat(scores, dim=1), torch.cat(labels)
    if not len(truth):
        return logits.sum() * 0.0
    losses = []
    for label in torch.bincount(truth).nonzero().flatten().tolist():
        is_label = truth == label
        of_class = probabilities[label]
        errors, order = torch.where(is_label, 1 - of_class, of_class).sort(descending=True, stable=True)
        losses.append(errors @ jaccard_steps(is_label[order]))
    return torch.stack(losses).mean()


def jaccard_steps(is_label: Tensor) -> Tensor:
    """By how much each further wrong pixel raises the Jaccard loss of a class, (P,), when the first are wrong already.

    Args:
        is_label: (P,) bool, whether a pixel is of the class, the worst predicted first.
    """
    true = is_label.sum()
    missed, added = is_label.cumsum(dim=0), (~is_label).cumsum(dim=0)
    jaccard = 1 - (true - missed) / (true + added)
    return jaccard.diff(prepend=jaccard.new_zeros(1))
