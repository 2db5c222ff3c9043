"""One training step for any number of heads of any kind, and the evaluation between steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lightning as L
import torch
from torch import nn

from tasks.distributed import group, sharing
from tasks.distributed.norms import GlobalBatchNorm, average_statistics
from tasks.evaluators.base import metrics_of_all
from tasks.inference import update
from tasks.training.balance import FixedWeights
from tasks.training.gradients import gradient_norms, shared_feature
from tasks.training.optim import build_optimizer, build_schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from heads.structures import Batch
    from tasks.config.training import OptimConfig
    from tasks.evaluators.base import Evaluator
    from tasks.model import VisionModel
    from tasks.training.teacher import Teacher

MAIN = "main"
"""Name of the mean of the main metrics of several heads."""


class VisionTask(L.LightningModule):
    """Trains the heads of a model by the sum of their losses, and evaluates each by its own measure meanwhile.

    A head learns from the images that have its label; in a batch without any it does not run. Several processes take
    the step that one would with the images of all of them; see `tasks.distributed.sharing`.

    Args:
        evaluators: by the head's name; for the split that is evaluated while training.
        steps: of the whole training, for the schedule.
        steps_per_epoch: of one pass over the training set.
        mixing: blends the images of a training batch; None: they stay.
        balance: makes one loss of those of the heads; None: their sum.
        factors: on the learning rate, by the head's name, 1 for those that are not named; 0 leaves a head as it is.
        teacher: another model that the heads learn from beside the labels; None: there is none.
    """

    def __init__(
        self,
        model: VisionModel,
        evaluators: Mapping[str, Evaluator[Any]],
        optim: OptimConfig,
        *,
        steps: int,
        steps_per_epoch: int,
        mixing: Callable[[Batch, int], Batch] | None = None,
        balance: FixedWeights | None = None,
        factors: Mapping[str, float] | None = None,
        teacher: Teacher | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.evaluators = dict(evaluators)
        self.optim = optim
        self.steps = steps
        self.steps_per_epoch = steps_per_epoch
        self.mixing = mixing
        self.balance = balance or FixedWeights(dict.fromkeys(model.heads, 1.0))
        self.factors = dict(factors or {})
        self.teacher = teacher
        self._left = {name for name, factor in self.factors.items() if factor == 0}
        self._taught = [name for name in model.heads if name not in self._left]
        self._norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
        self._is_synchronised = any(isinstance(norm, GlobalBatchNorm) for norm in self._norms)
        for name in self._left:
            model.heads[name].requires_grad_(False)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        if self.mixing is not None:
            batch = self.mixing(batch, self.global_step)
        features = self.model.features(batch.images)
        nothing = torch.empty(0, dtype=torch.int64, device=batch.images.device)
        rows = batch.rows | dict.fromkeys(self._left, nothing)
        elsewhere = self._labelled_elsewhere(batch)
        with self.model.single_images(rows, len(batch.images), elsewhere):
            outputs = self.model.forward_heads(features, rows, always=elsewhere)
        parts: dict[str, dict[str, Tensor]] = {
            name: self.model.heads[name].loss(output, batch.targets[name])  # type: ignore[operator]
            for name, output in outputs.items()
            if len(rows.get(name, batch.images))
        }
        if self.teacher is not None:
            taught = self.teacher.losses(self.model, outputs, self.teacher.outputs(batch, rows))
            for name, of_head in parts.items():
                of_head.update(taught.get(name, {}))
        if group.place().world_size > 1:
            parts = sharing.weighted(parts, batch, self._taught)
        losses = {
            name: torch.stack(list(values.values())).sum() if values else _zero(outputs.get(name, features))
            for name, values in parts.items()
        }
        total: Tensor = self.balance(losses) if losses else _zero(features)
        self._log_losses(parts, total)
        if len(self.model.heads) > 1 and self._is_logged():
            self._log_gradient_norms(losses, features[shared_feature(self.model)])
        return total

    def _labelled_elsewhere(self, batch: Batch) -> dict[str, int]:
        """Heads with labels in some process, and of how many images; empty where no head has to run for another."""
        if not self._is_synchronised or group.place().world_size == 1 or len(self.model.heads) == 1:
            return {}
        return {name: images for name, images in sharing.labelled(batch, self._taught).items() if images}

    def _log_losses(self, parts: Mapping[str, Mapping[str, Tensor]], total: Tensor) -> None:
        """Those of the whole batch, also where several processes share it."""
        self.log("train/loss", group.mean(total), prog_bar=True)
        if group.place().world_size > 1:
            parts = sharing.merged(parts) if self._is_logged() else {}
        for name, values in parts.items():
            self.log_dict({f"train/{name}/{part}": value.detach() for part, value in values.items()})

    def on_fit_start(self) -> None:
        """Dropout is not the same in all processes."""
        if rank := group.place().rank:
            torch.manual_seed(torch.initial_seed() + rank)

    def on_after_backward(self) -> None:
        average_statistics(self._norms)

    def _is_logged(self) -> bool:
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        return (self.global_step + 1) % every == 0

    def _log_gradient_norms(self, losses: Mapping[str, Tensor], feature: Tensor) -> None:
        """The weight of every head's loss, and the norm of the gradient that it sends into the backbone."""
        weights = self.balance.weights()
        weighted = {name: weights[name] * loss for name, loss in losses.items()}
        norms = gradient_norms(weighted, feature)
        self.log_dict({f"gradient/{name}": norm for name, norm in norms.items()})
        self.log_dict({f"weight/{name}": weights[name] for name in losses})

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        update(self.evaluators, self.model, batch)

    def on_validation_epoch_start(self) -> None:
        for evaluator in self.evaluators.values():
            evaluator.reset()

    def on_validation_epoch_end(self) -> None:
        by_head = metrics_of_all(self.evaluators)
        metrics = {
            f"val/{self.evaluators[head].prefix}{name}": value
            for head, found in by_head.items()
            for name, value in found.items()
            if value is not None and "/" not in name
        }
        if len(by_head) > 1:
            main = [by_head[head].get(evaluator.main_metric) or 0.0 for head, evaluator in self.evaluators.items()]
            metrics[f"val/{MAIN}"] = sum(main) / len(main)
        self.log_dict(metrics, batch_size=1)

    def configure_optimizers(self) -> Any:
        optimizer = build_optimizer(self.model, self.optim, self.factors, self.balance.parameters())
        schedule = build_schedule(optimizer, self.optim, self.steps, self.steps_per_epoch)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        return batch.to(device, non_blocking=True)


def _zero(outputs: Any) -> Tensor:
    """A loss of nothing, through one of the tensors that are there, so that there is a backward pass."""
    tensors = outputs.values() if isinstance(outputs, dict) else outputs
    return 0.0 * (outputs if isinstance(outputs, torch.Tensor) else next(iter(tensors))).sum()
