"""One training and one evaluation step for any number of heads of any kind."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import lightning as L
import torch
from torch import nn

from tasks.evaluation.multi_scale import predict_multi_scale
from tasks.multitask.balance import FixedWeights
from tasks.multitask.gradients import gradient_norms, shared_feature
from tasks.optim import build_optimizer, build_schedule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

    from heads.structures import Batch
    from tasks.config import OptimConfig
    from tasks.evaluator import Evaluator
    from tasks.mixing import Mixing
    from tasks.model import VisionModel

MAIN = "main"
"""Name of the mean of the main figures of several heads."""


class VisionTask(L.LightningModule):
    """Trains the heads of a model by the sum of their losses, and evaluates each by its own measure.

    A head learns from the images that have its label; in a batch without any it does not run.

    Args:
        evaluators: by the head's name; for the split that is evaluated while training.
        steps: of the whole training, for the schedule.
        steps_per_epoch: of one pass over the training set.
        mixing: blends the images of a training batch; None: they stay.
        multi_scale: evaluate segmentation at several scales.
        balance: makes one loss of those of the heads; None: their sum.
        factors: on the learning rate, by the head's name, 1 for those that are not named; 0 leaves a head as it is.
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
        balance: FixedWeights | None = None,
        factors: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.evaluators = dict(evaluators)
        self.optim = optim
        self.steps = steps
        self.steps_per_epoch = steps_per_epoch
        self.mixing = mixing
        self.multi_scale = multi_scale
        self.balance = balance or FixedWeights(dict.fromkeys(model.heads, 1.0))
        self.factors = dict(factors or {})
        self._left = {name for name, factor in self.factors.items() if factor == 0}
        for name in self._left:
            model.heads[name].requires_grad_(False)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        if self.mixing is not None:
            batch = self.mixing(batch, self.global_step)
        features = self.model.features(batch.images)
        nothing = torch.empty(0, dtype=torch.int64, device=batch.images.device)
        rows = batch.rows | dict.fromkeys(self._left, nothing)
        with self._single_images(rows, len(batch.images)):
            outputs = self.model.answer(features, rows)
        parts = {
            name: self.model.heads[name].loss(output, batch.targets[name])  # type: ignore[operator]
            for name, output in outputs.items()
        }
        losses = {name: torch.stack(list(values.values())).sum() for name, values in parts.items()}
        total: Tensor = self.balance(losses) if losses else 0.0 * next(iter(features.values())).sum()
        for name, values in parts.items():
            self.log_dict({f"train/{name}/{part}": value.detach() for part, value in values.items()})
        self.log("train/loss", total.detach(), prog_bar=True)
        if len(self.model.heads) > 1 and self._is_logged():
            self._log_pull(losses, features[shared_feature(self.model)])
        return total

    def _is_logged(self) -> bool:
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        return (self.global_step + 1) % every == 0

    def _log_pull(self, losses: Mapping[str, Tensor], feature: Tensor) -> None:
        """The weight of every head's loss, and the norm of the gradient that it sends into the backbone."""
        weights = self.balance.weights()
        weighted = {name: weights[name] * loss for name, loss in losses.items()}
        norms = gradient_norms(weighted, feature)
        self.log_dict({f"gradient/{name}": norm for name, norm in norms.items()})
        self.log_dict({f"weight/{name}": weights[name] for name in losses})

    @contextmanager
    def _single_images(self, rows: Mapping[str, Tensor], images: int) -> Iterator[None]:
        """One image is no batch: a head that gets one of several normalises by its statistics and leaves them alone."""
        alone = [self.model.heads[name] for name, mine in rows.items() if len(mine) == 1 < images]
        parts = [part for head in alone for part in head.modules() if isinstance(part, nn.BatchNorm2d)]
        with ExitStack() as after:
            for norm in [part for part in parts if part.training]:
                after.callback(norm.train)
                norm.eval()
            yield

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        for name, answers in self._answers(batch).items():
            self.evaluators[name].update(batch.of(name), answers)

    def _answers(self, batch: Batch) -> dict[str, list[Any]]:
        if self.multi_scale:
            return {name: predict_multi_scale(self.model, name, batch.images, batch.sizes) for name in self.model.heads}
        outputs = self.model.answer(self.model.features(batch.images), batch.rows)
        return {
            name: self.model.heads[name].predict(output, batch.of(name).sizes)  # type: ignore[operator]
            for name, output in outputs.items()
        }

    def on_validation_epoch_start(self) -> None:
        for evaluator in self.evaluators.values():
            evaluator.reset()

    def on_validation_epoch_end(self) -> None:
        by_head = {name: evaluator.figures() for name, evaluator in self.evaluators.items()}
        figures = {
            f"val/{self.evaluators[head].prefix}{name}": value
            for head, found in by_head.items()
            for name, value in found.items()
            if value is not None and "/" not in name
        }
        if len(by_head) > 1:
            main = [by_head[head].get(evaluator.main_figure) or 0.0 for head, evaluator in self.evaluators.items()]
            figures[f"val/{MAIN}"] = sum(main) / len(main)
        self.log_dict(figures, batch_size=1)

    def configure_optimizers(self) -> Any:
        optimizer = build_optimizer(self.model, self.optim, self.factors, self.balance.parameters())
        schedule = build_schedule(optimizer, self.optim, self.steps, self.steps_per_epoch)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        return batch.to(device, non_blocking=True)
