"""The two losses of a detector, over a whole batch at once.

Letters: N images, A default boxes, K classes; index 0 is the background.
Reference: SSD, arXiv:1512.02325, equations 1 to 3 and "Hard negative mining".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from torch import Tensor

    from heads.ssdlite.matcher import Matches


def box_loss(deltas: Tensor, wanted: Tensor, positive: Tensor) -> Tensor:
    """Smooth L1 between deltas (N, A, 4), summed over the positive default boxes (N, A)."""
    return F.smooth_l1_loss(deltas[positive], wanted[positive], reduction="sum")


def sigmoid_class_loss(logits: Tensor, classes: Tensor) -> Tensor:
    """Each class, and the background as one more, against the rest.

    (N, A) from logits (N, A, 1 + K) and classes (N, A). The sum of the binary cross-entropies, log(1 + e^x) of every logit less the logit that should be large.
    """
    return F.softplus(logits).sum(dim=-1) - logits.gather(-1, classes[..., None]).squeeze(-1)


def softmax_class_loss(logits: Tensor, classes: Tensor) -> Tensor:
    """All classes and the background against each other: (N, A) from logits (N, A, 1 + K) and classes (N, A)."""
    return F.cross_entropy(logits.movedim(-1, 1), classes, reduction="none")


def mined_class_loss(losses: Tensor, matches: Matches, negatives_per_positive: float, min_negatives: int) -> Tensor:
    """Sum of class losses (N, A) over the positive default boxes and the hardest negative ones of every image.

    Hardest: of the largest loss. As many as `negatives_per_positive` for each positive, and at least `min_negatives`,
    so that an image without objects teaches too.
    """
    negatives = (matches.positive.sum(dim=1, keepdim=True) * negatives_per_positive).clamp(min=min_negatives)
    candidates = losses.masked_fill(matches.positive | matches.ignored, 0.0)
    hardest = candidates.sort(dim=1, descending=True).values
    rank = torch.arange(losses.shape[1], device=losses.device)
    return losses[matches.positive].sum() + hardest.masked_fill(rank >= negatives, 0.0).sum()
