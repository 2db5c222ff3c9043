"""Fine-tuning and scoring of one network of a search, without a trainer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file

from backbone.disk import whole_file
from backbone.errors import InputError
from tasks.inference import predict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from heads.structures import Batch
    from tasks.config.search import SearchConfig
    from tasks.evaluators.base import Evaluator
    from tasks.model import VisionModel
    from tasks.training.teacher import Teacher

MOMENTUM = "momentum/"
STEP = "step"


class Descent:
    """Plain stochastic gradient descent on the weights of a network, in place, which can be saved and taken up.

    Args:
        decayed_over: steps over which the learning rate falls to zero as a cosine; None: it stays.
    Attributes:
        step: steps done.
        named: the weights that are learned.
    """

    def __init__(self, model: VisionModel, config: SearchConfig, decayed_over: int | None = None) -> None:
        self.model, self.step = model, 0
        self.named = {name: one for name, one in model.named_parameters() if one.requires_grad}
        self.device = next(model.parameters()).device
        self._config, self._decayed_over = config, decayed_over
        self._optimiser = torch.optim.SGD(
            self.named.values(), lr=config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay
        )

    def descend(self) -> None:
        """Change the weights by the gradients that are there, and forget these."""
        config = self._config
        if config.gradient_clip is not None:
            torch.nn.utils.clip_grad_norm_(self.named.values(), config.gradient_clip)
        if self._decayed_over is not None:
            (group,) = self._optimiser.param_groups
            group["lr"] = config.learning_rate * (1 + math.cos(math.pi * self.step / self._decayed_over)) / 2
        self._optimiser.step()
        self._optimiser.zero_grad()

    def save(self, path: Path) -> None:
        """Write weights, momenta and the step."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.model.state_dict().items()}
        for name, parameter in self.named.items():
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
                self._optimiser.state[self.named[name]]["momentum_buffer"] = momentum.to(self.device)
        except Exception as error:
            raise InputError(f"{path}: is damaged ({str(error).splitlines()[0]}); say another run_dir") from error


class Tuning(Descent):
    """Training of one network.

    Args:
        seed: of dropout.
        weights: of the heads' losses; 1 where there is none.
        teacher: what its heads say is learned too.
    """

    def __init__(
        self,
        model: VisionModel,
        config: SearchConfig,
        *,
        seed: int,
        decayed_over: int | None = None,
        weights: Mapping[str, float] | None = None,
        teacher: Teacher | None = None,
    ) -> None:
        super().__init__(model, config, decayed_over)
        self._seed, self._weights, self._teacher = seed, weights, teacher

    def learn(self, batch: Batch) -> None:
        """One step. Leaves the model in training mode."""
        torch.manual_seed(self._seed + self.step)
        self.model.train()
        loss = total_loss(self.model, batch.to(self.device), self._weights, self._teacher)
        if loss is not None:
            loss.backward()  # type: ignore[no-untyped-call]
            self.descend()
        self.step += 1


def total_loss(
    model: VisionModel, batch: Batch, weights: Mapping[str, float] | None = None, teacher: Teacher | None = None
) -> torch.Tensor | None:
    """Sum of the heads' losses over a batch on the model's device; None: no head has labels in it.

    Args:
        weights: of the heads' losses; 1 where there is none.
        teacher: what its heads say is learned too.
    """
    rows = batch.rows
    with model.single_images(rows, len(batch.images)):
        outputs = model.forward_heads(model.features(batch.images), rows)
    losses: list[torch.Tensor] = []
    for name, output in outputs.items():
        of_head: dict[str, torch.Tensor] = model.heads[name].loss(output, batch.targets[name])  # type: ignore[operator]
        weight = (weights or {}).get(name, 1.0)
        losses += [weight * loss for loss in of_head.values()]
    if losses and teacher is not None:
        soft = teacher.losses(model, outputs, teacher.outputs(batch, rows))
        losses += [(weights or {}).get(name, 1.0) * loss for name, of in soft.items() for loss in of.values()]
    return torch.stack(losses).sum() if losses else None


@torch.no_grad()
def recalibrate(model: VisionModel, batches: Iterable[Batch]) -> None:
    """Compute running statistics anew, as plain means over batches, in place; those of frozen normalisations stay.

    Those of a network that lost channels are the larger network's, and a few steps with a small momentum hardly change
    them.
    """
    model.train()
    norms = [one for one in model.modules() if isinstance(one, torch.nn.BatchNorm2d) and one.training]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    device = next(model.parameters()).device
    for batch in batches:
        rows = {name: mine.to(device) for name, mine in batch.rows.items()}
        with model.single_images(rows, len(batch.images)):
            model.forward_heads(model.features(batch.images.to(device)), rows)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()


@torch.no_grad()
def scored(model: VisionModel, batches: Iterable[Batch], evaluators: Mapping[str, Evaluator[Any]]) -> float:
    """Mean of the heads' main metrics over batches; a head without one counts as zero."""
    model.eval()
    device = next(model.parameters()).device
    for evaluator in evaluators.values():
        evaluator.reset()
    for batch_on_cpu in batches:
        batch = batch_on_cpu.to(device)
        for name, of_head in predict(model, batch.images, batch.sizes, batch.rows).items():
            if name in evaluators:
                evaluators[name].update(batch.of(name), of_head)
    found = [evaluator.metrics().get(evaluator.main_metric) or 0.0 for evaluator in evaluators.values()]
    return float(sum(found) / len(found))
