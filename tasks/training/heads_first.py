"""The heads learn before the backbone does, so that their random start does not spoil it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightning.pytorch.callbacks import Callback

if TYPE_CHECKING:
    from lightning import LightningModule, Trainer
    from torch import nn


class HeadsFirst(Callback):
    """Keeps the backbone as it is for the first steps, weights and batch statistics; then everything is trained.

    What is frozen anyway stays so.

    Args:
        steps: of the optimiser, counted from the start of the training, also of a resumed one.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self._frozen: list[nn.Parameter] | None = None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        backbone: nn.Module = pl_module.model.backbone  # type: ignore[union-attr, assignment]
        if trainer.global_step < self.steps:
            if self._frozen is None:
                self._frozen = [weight for weight in backbone.parameters() if weight.requires_grad]
                for weight in self._frozen:
                    weight.requires_grad_(False)
            backbone.eval()
        elif self._frozen is not None:
            for weight in self._frozen:
                weight.requires_grad_(True)
            backbone.train()
            self._frozen = None
