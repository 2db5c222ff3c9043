"""The weights that a training leaves: after its last step, and of its best evaluation."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from tasks.checkpoints.model_file import CALIBRATION, save_model
from tasks.distributed import group
from tasks.training.temperature import calibrate

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch

    from tasks.checkpoints.model_file import Header
    from tasks.data.loading.loaders import Loaders
    from tasks.evaluators.base import Evaluator
    from tasks.training.resume.keeper import CheckpointCallback
    from tasks.vision_task import VisionTask

log = logging.getLogger(__name__)

BEST = "model.safetensors"
LAST = "last.safetensors"


def write_weights(
    folder: Path, task: VisionTask, keeper: CheckpointCallback, header: Header,
    evaluators: Mapping[str, Evaluator[Any]], data: Loaders, device: torch.device, precision: str,
) -> None:  # fmt: skip
    """Write the last and the best weights of a training that ended; the model of `task` has the best ones then.

    Classifiers with `head.calibrate` are calibrated, each time on the validation images.

    Args:
        task: with the weights after the last step, averaged if that is asked for.
        header: what the files say of themselves; the step is added.
        evaluators: of the validation images, by head.
    """
    best = keeper.best.step if keeper.best else keeper.step
    for name, step in ((LAST, keeper.step), (BEST, best)):
        if name == LAST or keeper.best:  # else the last weights are the best
            if name == BEST and group.is_first():  # the others get them when they are shared
                task.load_state_dict(keeper.best_weights())
            batches = data.evaluation(data.splits.val)
            fitted = calibrate(task.model, evaluators, batches, device=device, precision=precision)
            for head, one in fitted.items():
                log.info(
                    "%s: logits of %s divided by %.3f, fitted on val: calibration error there %.4f -> %.4f",
                    name, head, one.temperature, one.error_before, one.error_after,
                )  # fmt: skip
            if fitted:
                header.provenance[CALIBRATION] = {head: one.to_plain() for head, one in fitted.items()}
        if group.is_first():
            header.provenance["step"] = step
            save_model(folder / name, task.model, header)
    log.info("weights: %s after step %d, the best evaluation; %s after step %d", BEST, best, LAST, keeper.step)
