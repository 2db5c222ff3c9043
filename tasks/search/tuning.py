"""Fine-tuning and scoring of one network of a search, without a trainer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from tasks.inference import predict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from heads.structures import Batch
    from tasks.config.search import SearchConfig
    from tasks.evaluators.base import Evaluator
    from tasks.model import VisionModel
    from tasks.training.teacher import Teacher


def fine_tune(
    model: VisionModel,
    batches: Iterable[Batch],
    config: SearchConfig,
    *,
    seed: int,
    decayed_over: int | None = None,
    weights: Mapping[str, float] | None = None,
    teacher: Teacher | None = None,
) -> None:
    """Plain stochastic gradient descent over batches, in place.

    Args:
        seed: of dropout.
        decayed_over: steps over which the learning rate falls to zero as a cosine; None: it stays.
        weights: of the heads' losses; 1 where there is none.
        teacher: what its heads say is learned too.
    """
    torch.manual_seed(seed)
    device = next(model.parameters()).device
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.SGD(
        learned, lr=config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, decayed_over) if decayed_over else None
    model.train()
    for batch_on_cpu in batches:
        loss = total_loss(model, batch_on_cpu.to(device), weights, teacher)
        if loss is None:
            continue
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if config.gradient_clip is not None:
            torch.nn.utils.clip_grad_norm_(learned, config.gradient_clip)
        optimiser.step()
        if schedule is not None:
            schedule.step()
    model.eval()


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
