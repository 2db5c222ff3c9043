"""Who pulls the backbone: the gradient that every head sends into it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from backbone.features import FeatureSpec
    from tasks.model import VisionModel


def shared_feature(model: VisionModel) -> str:
    """The last feature that all heads are computed from: the earliest of those that they look at last."""
    specs: Mapping[str, FeatureSpec] = model.backbone.specs  # type: ignore[assignment]
    taps: list[list[str]] = [head.taps for head in model.heads.values()]  # type: ignore[misc]
    order = list(specs)
    return min((max(of_head, key=order.index) for of_head in taps), key=order.index)


def gradient_norms(losses: Mapping[str, Tensor], feature: Tensor) -> dict[str, Tensor]:
    """Norm of the gradient of every head's weighted loss at a shared feature; empty where the backbone is frozen."""
    if not feature.requires_grad:
        return {}
    norms = {}
    for name, loss in losses.items():
        (gradient,) = torch.autograd.grad(loss, feature, retain_graph=True, allow_unused=True)
        if gradient is not None:
            norms[name] = gradient.norm()
    return norms
