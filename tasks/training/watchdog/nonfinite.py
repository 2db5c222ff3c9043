"""A loss that is not finite: its batch is kept to be looked at, and the training stops, skips it or goes back."""

from __future__ import annotations

import json
import logging
import math
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback

from backbone.disk import write_whole
from backbone.errors import InputError
from tasks.config.training import OnNonfinite
from tasks.distributed.group import any_has, is_first, place

if TYPE_CHECKING:
    from pathlib import Path

    from lightning import LightningModule, Trainer
    from torch import Tensor

    from heads.structures import Batch
    from tasks.data.loading.loaders import Loaders

log = logging.getLogger(__name__)

FOLDER = "nonfinite"
SKIPPED = "skipped.json"


class RollBackError(Exception):
    """The training is to begin again at its last checkpoint; the step is in the list of those to skip."""


class FiniteLoss(Callback):
    """Looks at the loss of every step before it changes the weights.

    Batches of such steps are written to `nonfinite/step_000012/` in the run folder: the images as PNG, as the model got
    them, and `batch.json` with losses, files and the seeds of their augmentation.

    Args:
        folder: of the run.
        data: tells which images are in a batch.
        action: what to do about it.
        limit: how often; once more ends the training.
    """

    def __init__(self, folder: Path, data: Loaders, action: OnNonfinite = OnNonfinite.stop, limit: int = 10) -> None:
        self._folder = folder / FOLDER
        self._data = data
        self._action = action
        self._limit = limit
        self._count = 0
        self._skip = read_skipped(folder)
        self._batch: Any = None
        self._buffers: list[Tensor] = []
        self._skips_now = False
        self._begins = True

    def state_dict(self) -> dict[str, Any]:
        return {"count": self._count}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._count = state_dict["count"]

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        self._batch = batch
        if not self._begins:
            return
        self._begins = False
        self._skips_now = trainer.global_step in self._skip
        if self._action is OnNonfinite.skip or self._skips_now:
            self._buffers = [buffer.clone() for buffer in pl_module.buffers()]

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        value = loss.item()
        if self._skips_now or not any_has(not math.isfinite(value)):
            return
        step = trainer.global_step
        self._count += 1
        where = self._folder / f"step_{step:06d}"
        self._keep(where, trainer, value)
        found = f"the loss is {value} at step {step}"
        if self._action is OnNonfinite.stop:
            raise InputError(
                f"{found}; its images are in {where}; train with a smaller optim.learning_rate, or go on without such"
                " batches by trainer.on_nonfinite=skip"
            )
        happened = len(self._skip) + 1 if self._action is OnNonfinite.roll_back else self._count
        if happened > self._limit:
            raise InputError(
                f"{found}, after {self._limit} others (trainer.nonfinite_limit); images of all are in {self._folder};"
                " train with a smaller optim.learning_rate"
            )
        if self._action is OnNonfinite.roll_back:
            if is_first():
                self._folder.mkdir(parents=True, exist_ok=True)
                write_whole(self._folder / SKIPPED, json.dumps(sorted({*self._skip, step})), durable=True)
            log.warning(
                "%s: going back to the last checkpoint, and on without this batch; its images are in %s", found, where
            )
            raise RollBackError
        log.warning("%s: this step is skipped; its images are in %s", found, where)
        self._skips_now = True

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        """A step without gradients changes nothing; what the batch did to batch statistics is undone."""
        self._begins = True
        if not self._skips_now:
            return
        for weight in pl_module.parameters():
            weight.grad = None
        for buffer, before in zip(pl_module.buffers(), self._buffers, strict=True):
            buffer.copy_(before)

    def _keep(self, where: Path, trainer: Trainer, loss: float) -> None:
        """A full disk does not matter here: the training ends, or goes on, for a better reason."""
        if place().world_size > 1:
            where = where / f"process_{place().rank}"
        try:
            write_batch(where, self._batch, self._data, trainer, loss)
        except OSError as error:
            log.warning("%s cannot be written (%s)", where, error.strerror or error)


def read_skipped(folder: Path) -> set[int]:
    """Steps of a run whose batches are left out, since a training went back because of them.

    Of a damaged file none: the training comes to them again, and goes back once more.
    """
    path = folder / FOLDER / SKIPPED
    if not path.is_file():
        return set()
    try:
        return {int(step) for step in json.loads(path.read_text(encoding="utf-8"))}
    except (OSError, ValueError, TypeError, RecursionError):
        log.warning("%s: is damaged; batches whose loss was not finite are taken once more", path)
        return set()


def write_batch(where: Path, batch: Batch, data: Loaders, trainer: Trainer, loss: float) -> None:
    """Images and what is known of them."""
    where.mkdir(parents=True, exist_ok=True)
    keys = data.keys(trainer.current_epoch, trainer.fit_loop.epoch_loop.batch_idx)
    images = []
    for number, (image, (position, seed, *_)) in enumerate(zip(batch.images.cpu(), keys, strict=True)):
        name = f"{number:03d}.png"
        rgb = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
        if not cv2.imwrite(str(where / name), rgb[..., ::-1]):
            raise OSError(f"{name} is not written")
        images.append(
            {
                "picture": name,
                "file": data.file(position),
                "id": int(batch.image_ids[number]),
                "position": position,
                "seed": seed,
            }
        )
    losses = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("train/")}
    found = {
        "step": trainer.global_step,
        "epoch": trainer.current_epoch,
        "batch": trainer.fit_loop.epoch_loop.batch_idx,
        "loss": str(loss),
        "parts": {name: str(value) for name, value in losses.items()},
        "targets": {name: _plain(target) for name, target in batch.targets.items()},
        "images": images,
    }
    write_whole(where / "batch.json", json.dumps(found, indent=2))


def _plain(target: Any) -> dict[str, Any]:
    """What a head was taught; masks are told by the classes in them."""
    found: dict[str, Any] = {}
    for name in target.__dataclass_fields__:
        value = getattr(target, name)
        if isinstance(value, torch.Tensor):
            small = value.ndim < 4 and not (value.ndim == 3 and value.shape[-1] > 4)
            found[name] = value.tolist() if small else [one.unique().tolist() for one in value]
    return found
