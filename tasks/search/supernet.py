"""One network that holds all networks of a space, trained by one of them at a step (single path one-shot, 1904.00420).

A smaller network has the first channels of every layer, the first blocks of every stage, and the middle of every
filter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from backbone.disk import whole_file
from backbone.errors import InputError
from tasks.search.tuning import total_loss

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import Tensor

    from backbone.architecture import Architecture
    from heads.structures import Batch
    from tasks.config.search import BlocksConfig
    from tasks.model import VisionModel
    from tasks.search.space import Space

MOMENTUM = "momentum/"
STEP = "step"


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


class Supernet:
    """The network that holds all, and its training.

    Args:
        build: a model of an architecture, with any weights.
        device: on which it is trained.
        weights: of the heads' losses; 1 where there is none.
    Attributes:
        step: steps done.
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
        self.model = build(space.architecture(space.largest)).to(device)
        self.step = 0
        self._build, self._space, self._config = build, space, config
        self._seed, self._weights, self._device = seed, weights, device
        self._named = {name: one for name, one in self.model.named_parameters() if one.requires_grad}
        self._optimiser = torch.optim.SGD(
            self._named.values(), lr=config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay
        )

    def child(self, architecture: Architecture) -> VisionModel:
        """A network of the space with its part of the weights, copied; its batch statistics are of no use yet."""
        model = self._build(architecture).to(self._device)
        larger = self.model.state_dict()
        with torch.no_grad():
            for name, tensor in model.state_dict().items():
                tensor.copy_(part_of(larger[name], tensor.shape))
        return model

    def learn(self, batch_on_cpu: Batch) -> None:
        """Train one network, drawn uniformly, with one batch; the learning rate falls to zero as a cosine."""
        config = self._config
        rng = np.random.default_rng([self._seed, 0, self.step])
        child = self.child(self._space.architecture(self._space.random(rng)))
        torch.manual_seed(self._seed + self.step)
        child.train()
        loss = total_loss(child, batch_on_cpu.to(self._device), self._weights)
        if loss is not None:
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimiser.zero_grad()
            for name, parameter in child.named_parameters():
                if parameter.grad is not None:
                    whole = self._named[name]
                    whole.grad = torch.zeros_like(whole)
                    part_of(whole.grad, parameter.shape).copy_(parameter.grad)
            if config.gradient_clip is not None:
                torch.nn.utils.clip_grad_norm_(self._named.values(), config.gradient_clip)
            for group in self._optimiser.param_groups:
                group["lr"] = config.learning_rate * (1 + np.cos(np.pi * self.step / config.steps)) / 2
            self._optimiser.step()
        self.step += 1

    def save(self, path: Path) -> None:
        """Write weights, momenta and the step."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.model.state_dict().items()}
        for name, parameter in self._named.items():
            momentum = self._optimiser.state.get(parameter, {}).get("momentum_buffer")
            if momentum is not None:
                tensors[MOMENTUM + name] = momentum.cpu().contiguous()
        tensors[STEP] = torch.tensor([self.step])
        with whole_file(path, durable=True) as part:
            save_file(tensors, part)

    def load(self, path: Path) -> None:
        """Take up what `save` wrote.

        Raises:
            InputError: it is of another network.
        """
        try:
            tensors = load_file(path)
            self.step = int(tensors.pop(STEP))
            momenta = {
                name.removeprefix(MOMENTUM): tensors.pop(name) for name in list(tensors) if name.startswith(MOMENTUM)
            }
            self.model.load_state_dict(tensors)
            for name, momentum in momenta.items():
                self._optimiser.state[self._named[name]]["momentum_buffer"] = momentum.to(self._device)
        except Exception as error:
            raise InputError(f"{path}: is damaged ({str(error).splitlines()[0]}); say another run_dir") from error
