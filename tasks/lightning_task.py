"""One training and one evaluation step for any number of heads of any kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lightning as L
import torch

from tasks.evaluation.multi_scale import predict_multi_scale
from tasks.optim import build_optimizer, build_schedule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from heads.structures import Batch
    from tasks.config import OptimConfig
    from tasks.evaluator import Evaluator
    from tasks.mixing import Mixing
    from tasks.model import VisionModel


class VisionTask(L.LightningModule):
    """Trains the heads of a model by the sum of their losses, and evaluates each by its own measure.

    Args:
        evaluators: by the head's name; for the split that is evaluated while training.
        steps: of the whole training, for the schedule.
        steps_per_epoch: of one pass over the training set.
        mixing: blends the images of a training batch; None: they stay.
        multi_scale: evaluate segmentation at several scales.
    """

    def __init__(
        self,
        model: VisionModel,
        evaluators: Mapping[str, Evaluator[Any]],
        optim: OptimConfig,
        *,
        steps: int,
        steps_per_epoch: int,
        mixing: Mixing | None = None,
        multi_scale: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self.evaluators = dict(evaluators)
        self.optim = optim
        self.steps = steps
        self.steps_per_epoch = steps_per_epoch
        self.mixing = mixing
        self.multi_scale = multi_scale

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        if self.mixing is not None:
            batch = self.mixing(batch, self.global_step)
        outputs = self.model(batch.images)
        losses = {
            f"{name}/{part}": value
            for name, head in self.model.heads.items()
            for part, value in head.loss(outputs[name], batch.targets[name]).items()  # type: ignore[operator]
        }
        total = torch.stack(list(losses.values())).sum()
        self.log_dict({f"train/{name}": value.detach() for name, value in losses.items()})
        self.log("train/loss", total.detach(), prog_bar=True)
        return total

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        for name, answers in self._answers(batch).items():
            self.evaluators[name].update(batch, answers)

    def _answers(self, batch: Batch) -> dict[str, list[Any]]:
        if self.multi_scale:
            return {name: predict_multi_scale(self.model, name, batch.images, batch.sizes) for name in self.model.heads}
        outputs = self.model(batch.images)
        return {
            name: head.predict(outputs[name], batch.sizes)  # type: ignore[operator]
            for name, head in self.model.heads.items()
        }

    def on_validation_epoch_start(self) -> None:
        for evaluator in self.evaluators.values():
            evaluator.reset()

    def on_validation_epoch_end(self) -> None:
        figures = {
            f"val/{name}": value
            for evaluator in self.evaluators.values()
            for name, value in evaluator.figures().items()
            if value is not None and "/" not in name
        }
        self.log_dict(figures, batch_size=1)

    def configure_optimizers(self) -> Any:
        optimizer = build_optimizer(self.model, self.optim)
        schedule = build_schedule(optimizer, self.optim, self.steps, self.steps_per_epoch)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        return batch.to(device, non_blocking=True)
