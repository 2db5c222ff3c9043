"""One network that holds all networks of a space, trained by one of them at a step (single path one-shot, 1904.00420).

A smaller network has the first channels of every layer, the first blocks of every stage, and the middle of every
filter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from backbone.errors import InputError
from tasks.search.tuning import Descent, total_loss

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from backbone.architecture import Architecture
    from heads.structures import Batch
    from tasks.config.search import BlocksConfig
    from tasks.model import VisionModel
    from tasks.search.space import Space


def part_of(tensor: Tensor, shape: torch.Size) -> Tensor:
    """View of a tensor: the first of its channels, and the middle of its filters.

    Args:
        shape: of the view; in filters the last two axes are cells.
    Raises:
        InputError: the tensor is no larger one of this kind.
    """
    if tensor.dim() != len(shape) or any(new > old for old, new in zip(tensor.shape, shape, strict=True)):
        raise InputError(f"{tuple(shape)} is no part of {tuple(tensor.shape)}")
    for axis, (old, new) in enumerate(zip(tensor.shape, shape, strict=True)):
        tensor = tensor.narrow(axis, (old - new) // 2 if len(shape) == 4 and axis >= 2 else 0, new)
    return tensor


class Supernet(Descent):
    """The network that holds all, and its training.

    Args:
        build: a model of an architecture, with any weights.
        device: on which it is trained.
        weights: of the heads' losses; 1 where there is none.
    """

    def __init__(
        self,
        build: Callable[[Architecture], VisionModel],
        space: Space,
        config: BlocksConfig,
        *,
        seed: int,
        device: torch.device,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        torch.manual_seed(seed)
        super().__init__(build(space.architecture(space.largest)).to(device), config, config.steps)
        self._build, self._space, self._seed, self._weights = build, space, seed, weights

    def child(self, architecture: Architecture) -> VisionModel:
        """A network of the space with its part of the weights, copied; its batch statistics are of no use yet."""
        model = self._build(architecture).to(self.device)
        larger = self.model.state_dict()
        with torch.no_grad():
            for name, tensor in model.state_dict().items():
                tensor.copy_(part_of(larger[name], tensor.shape))
        return model

    def learn(self, batch_on_cpu: Batch) -> None:
        """Train one network, drawn uniformly, with one batch; the learning rate falls to zero as a cosine."""
        rng = np.random.default_rng([self._seed, 0, self.step])
        child = self.child(self._space.architecture(self._space.random(rng)))
        torch.manual_seed(self._seed + self.step)
        child.train()
        loss = total_loss(child, batch_on_cpu.to(self.device), self._weights)
        if loss is not None:
            loss.backward()  # type: ignore[no-untyped-call]
            for name, parameter in child.named_parameters():
                if parameter.grad is not None:
                    whole = self.named[name]
                    whole.grad = torch.zeros_like(whole)
                    part_of(whole.grad, parameter.shape).copy_(parameter.grad)
            self.descend()
        self.step += 1
