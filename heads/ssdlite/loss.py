"""Losses of a detector for classes and for boxes, over a whole batch at once.

Shapes: N images, A default boxes, P positive default boxes, K classes; index 0 is the background.
Reference: SSD, arXiv:1512.02325, equations 1 to 3 and "Hard negative mining"; those that it does not have at their
functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from heads.ssdlite.config import BoxLoss, ClassLoss

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from heads.ssdlite.matcher import Matches


FOCAL_ALPHA = 0.25
FOCAL_GAMMA = 2.0
"""Focal loss, arXiv:1708.02002, section 4."""
QUALITY_POWER = 2.0
"""Quality focal loss, arXiv:2006.04388, section 3.2."""
VARIFOCAL_ALPHA = 0.75
VARIFOCAL_POWER = 2.0
"""Varifocal loss, arXiv:2008.13367, section 3.2."""
PIXELS = 320.0
"""Side at which corners are compared, so that epsilons of the libraries, meant for pixels, are small."""


def box_loss(deltas: Tensor, wanted: Tensor) -> Tensor:
    """Smooth L1 between deltas (P, 4) of the positive default boxes and those wanted, summed."""
    return F.smooth_l1_loss(deltas, wanted, reduction="sum")


def iou_loss(kind: BoxLoss, boxes_xyxy_rel: Tensor, wanted_xyxy_rel: Tensor) -> Tensor:
    """One less the generalised or complete IoU of predicted boxes (P, 4) with their objects (P, 4), summed.

    Reference: arXiv:1902.09630 and arXiv:1911.08287.
    """
    from torchvision.ops import complete_box_iou_loss, generalized_box_iou_loss  # slow to import, as `suppression` says

    loss = generalized_box_iou_loss if kind is BoxLoss.giou else complete_box_iou_loss
    summed: Tensor = loss(boxes_xyxy_rel * PIXELS, wanted_xyxy_rel * PIXELS, reduction="sum")
    return summed


def dense_class_loss(kind: ClassLoss, logits: Tensor, wanted: Tensor) -> Tensor:
    """Class loss (..., K) of logits (..., K) for wanted scores (..., K): of a positive's own class 1, or its IoU."""
    if kind is ClassLoss.focal:
        from torchvision.ops import sigmoid_focal_loss

        focal: Tensor = sigmoid_focal_loss(logits, wanted, alpha=FOCAL_ALPHA, gamma=FOCAL_GAMMA)
        return focal
    scores = logits.detach().sigmoid() if kind is ClassLoss.varifocal else logits.sigmoid()
    if kind is ClassLoss.quality:
        weight = (wanted - scores).abs() ** QUALITY_POWER
    else:
        weight = torch.where(wanted > 0, wanted, VARIFOCAL_ALPHA * scores**VARIFOCAL_POWER)
    return weight * F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")


class _Softplus(torch.autograd.Function):
    """log(1 + e^x), as max(x, 0) + log(1 + e^-|x|).

    PyTorch's own takes log1p, which on some CPUs takes twelve times as long as log. What is lost is below the rounding
    of 1, and the gradient, which is the sigmoid, loses nothing.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.relu() + x.abs().neg_().exp_().add_(1).log_()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        x: Tensor = ctx.saved_tensors[0]
        return gradient * x.sigmoid()


def sigmoid_class_loss(logits: Tensor, classes: Tensor) -> Tensor:
    """Binary cross entropy of every class and the background: (...) from logits (..., 1 + K) and classes (...).

    Summed over the classes: log(1 + e^x) of every logit, less the logit that should be large.
    """
    summed: Tensor = _Softplus.apply(logits).sum(dim=-1)
    return summed - logits.gather(-1, classes[..., None]).squeeze(-1)


def softmax_class_loss(logits: Tensor, classes: Tensor) -> Tensor:
    """Cross entropy over classes and background: (...) from logits (..., 1 + K) and classes (...)."""
    return F.cross_entropy(logits.flatten(0, -2), classes.flatten(), reduction="none").view_as(classes)


@torch.no_grad()
def by_image(class_loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, classes: Tensor) -> Tensor:
    """Class loss (N, A) from logits (N, A, 1 + K) and classes (N, A), without a gradient.

    A CPU takes one image after the other: what the loss of a whole batch writes in between leaves the caches, and costs
    as much time as the arithmetic.
    """
    images = 1 if logits.device.type == "cpu" else len(logits)
    parts = zip(torch.split(logits, images), torch.split(classes, images), strict=True)
    return torch.cat([class_loss(some_logits, some_classes) for some_logits, some_classes in parts])


@torch.no_grad()
def hard_negative_mining(losses: Tensor, matches: Matches, negatives_per_positive: float, min_negatives: int) -> Tensor:
    """Select the default boxes (N, A) of the class loss: the positive and the hardest negative ones of every image.

    Hardest: of the largest loss (N, A). As many as `negatives_per_positive` for each positive, and at least
    `min_negatives`, so that an image without objects counts, too.
    """
    negatives = (matches.positive.sum(dim=1, keepdim=True) * negatives_per_positive).clamp(min=min_negatives)
    candidate = ~(matches.positive | matches.ignored)
    most = min(int(negatives.max().ceil()), losses.shape[1])
    hardest_first = losses.masked_fill(~candidate, -torch.inf).topk(most, dim=1).indices
    rank = torch.arange(most, device=losses.device)
    hardest = torch.zeros_like(candidate).scatter_(1, hardest_first, rank < negatives)
    return matches.positive | (hardest & candidate)
