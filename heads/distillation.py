"""Losses that teach a head what another network's head gives out. Shapes: N images, A default boxes, K classes.

Reference: Hinton et al., arXiv:1503.02531; for detectors Chen et al., "Learning efficient object detection models with
knowledge distillation", NIPS 2017, in that background, which nearly all default boxes are, weighs little.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from torch import Tensor


def soft_entropy(logits: Tensor, teacher: Tensor) -> Tensor:
    """Kullback-Leibler divergence of class probabilities from the teacher's, for each place.

    Args:
        logits, teacher: (N, K) or (N, K, h, w), classes along the second axis.
    Returns:
        (N,) or (N, h, w); zero where both agree.
    """
    wanted = teacher.float().log_softmax(1)
    return F.kl_div(logits.float().log_softmax(1), wanted, reduction="none", log_target=True).sum(1)


def soft_boxes(
    logits: Tensor, deltas: Tensor, teacher_logits: Tensor, teacher_deltas: Tensor, *, softmax: bool
) -> dict[str, Tensor]:
    """`class_distill` and `box_distill`, means over default boxes weighted by how sure the teacher is of an object.

    Args:
        logits, teacher_logits: (N, A, 1 + K), background first.
        deltas, teacher_deltas: (N, A, 4).
        softmax: classes exclude each other; otherwise each is scored by itself.
    """
    logits, deltas = logits.float(), deltas.float()
    teacher_logits, teacher_deltas = teacher_logits.float(), teacher_deltas.float()
    if softmax:
        weight = 1 - teacher_logits.softmax(-1)[..., 0]
        classes = soft_entropy(logits.flatten(0, 1), teacher_logits.flatten(0, 1)).view_as(weight)
    else:
        wanted = teacher_logits[..., 1:].sigmoid()
        weight = wanted.amax(-1)
        entropy = F.binary_cross_entropy_with_logits(logits[..., 1:], wanted, reduction="none")
        least = F.binary_cross_entropy_with_logits(teacher_logits[..., 1:], wanted, reduction="none")
        classes = (entropy - least).sum(-1)
    boxes = F.smooth_l1_loss(deltas, teacher_deltas, reduction="none").sum(-1)
    total = weight.sum().clamp(min=torch.finfo(weight.dtype).eps)
    return {"class_distill": (weight * classes).sum() / total, "box_distill": (weight * boxes).sum() / total}
