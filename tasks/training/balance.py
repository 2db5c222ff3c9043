"""How the losses of several heads become one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from tasks.config.training import Balance

if TYPE_CHECKING:
    from collections.abc import Mapping


class FixedWeights(nn.Module):
    """Every head's loss times a number.

    Args:
        weights: by the head's name.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        super().__init__()
        self.fixed = dict(weights)

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """One loss from those of the heads that have one in this batch; at least one has."""
        return torch.stack([self.fixed[name] * loss for name, loss in losses.items()]).sum()

    def weights(self) -> dict[str, float]:
        """What every head's loss is multiplied by, by name."""
        return dict(self.fixed)


class UncertaintyWeights(FixedWeights):
    """Every head's loss divided by a variance that is learned, plus half its logarithm, so that it does not grow.

    The sum is least where a variance is twice the loss: heads end up with the same share. Variances start at one and
    are part of a training's checkpoints; nothing else needs them.

    Reference: Multi-Task Learning Using Uncertainty to Weigh Losses, arXiv:1705.07115, equation 10. Differs: one
    variance for each head, in the form for classification for all of them.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        super().__init__(weights)
        self.log_variances = nn.ParameterDict({name: nn.Parameter(torch.zeros(())) for name in weights})

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """See `FixedWeights.forward`."""
        logs = {name: self.log_variances[name] for name in losses}
        scaled = {name: torch.exp(-logs[name]) * loss for name, loss in losses.items()}
        return super().forward(scaled) + torch.stack(list(logs.values())).sum() / 2

    def weights(self) -> dict[str, float]:
        """See `FixedWeights.weights`."""
        return {name: weight / self.log_variances[name].exp().item() for name, weight in self.fixed.items()}


BALANCES = {Balance.fixed: FixedWeights, Balance.uncertainty: UncertaintyWeights}
