"""Dice loss. Shapes: N images, K classes, h w cells of the logits, H W pixels.

Reference: V-Net, arXiv:1606.04797, section 3. Differs: sums instead of sums of squares, as is common.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from heads.segmentation.upsample import counted_pixels


def dice_loss(logits: Tensor, masks: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Mean over the classes that occur in a batch of 1 - 2 |A B| / (|A| + |B|), sums over all its pixels.

    Ignored pixels count nowhere. Zero where there are no others. Of several processes each has that of its own images.

    Args:
        logits: (N, K, h, w).
        masks: (N, H, W) uint8; 255 is ignored.
        rows, columns: (H, h) and (W, w), which interpolate (see `heads.segmentation.upsample.matrix`).
    """
    classes = logits.shape[1]
    parts = []
    for scores, labels in counted_pixels(logits, masks, rows, columns):
        truth = F.one_hot(labels.long(), classes).T.to(scores.dtype)
        parts.append(torch.stack([(scores * truth).sum(dim=1), scores.sum(dim=1), truth.sum(dim=1)]))
    shared, predicted, true = torch.stack(parts).sum(dim=0)
    occurs = true > 0
    if not occurs.any():
        return logits.sum() * 0.0
    loss: Tensor = (1 - 2 * shared[occurs] / (predicted[occurs] + true[occurs])).mean()
    return loss
