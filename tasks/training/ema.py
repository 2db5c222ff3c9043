"""Moving average of the weights: what is evaluated and saved."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from lightning.pytorch.callbacks import WeightAveraging

if TYPE_CHECKING:
    from torch import Tensor


class MovingAverage(WeightAveraging):
    """Exponential moving average of parameters and batch statistics, after every step.

    The decay ramps up with the number n of steps, min(decay, (1 + n) / (10 + n)), so that a short training is not
    averaged with its random start.

    Args:
        decay: weight of the past in the long run, in (0, 1).
    """

    def __init__(self, decay: float) -> None:
        def average(past: list[Tensor], now: list[Tensor], steps: Tensor | int) -> None:
            n = float(steps)
            if past[0].is_floating_point():
                torch._foreach_lerp_(past, now, 1 - min(decay, (1 + n) / (10 + n)))
            else:
                torch._foreach_copy_(past, now)

        super().__init__(multi_avg_fn=average)

    def averaged(self) -> dict[str, Tensor]:
        """The averaged weights, under the names that they have in the task."""
        assert self._average_model is not None
        weights: dict[str, Tensor] = self._average_model.module.state_dict()
        return weights
