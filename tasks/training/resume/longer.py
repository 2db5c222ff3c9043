"""A training that is told to be longer than when it was saved.

From where it stands it is as one of the new length: whatever follows the length (the learning rate, the sizes of images
that grow) is what that one has at this step. With `optim.schedule=constant` or `exponential` it ends as a training that
had this length from the start; where the rate fell to nothing, as by the cosine, it rises again.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from torch.optim.lr_scheduler import LambdaLR

from backbone.errors import InputError
from tasks.training.optim import learning_rate_factor

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.config.training import OptimConfig
    from tasks.training.resume.checkpoints import Checkpoint

log = logging.getLogger(__name__)


def check_length(folder: Path, found: Checkpoint, steps: int) -> None:
    """That a training gets no shorter.

    Raises:
        InputError: it would.
    """
    if (before := int(found.facts.get("steps", 0))) > steps:
        raise InputError(
            f"run_dir={folder}: holds a training of {before} steps, which can be made longer, not shorter:"
            f" trainer.max_steps or trainer.max_epochs come to {steps}; say more, or name another folder"
        )


def say_longer(resumed: Checkpoint, optim: OptimConfig, steps: int, steps_per_epoch: int) -> None:
    """One line, if the training is longer now, on what this does to its learning rate."""
    if (before := int(resumed.facts["steps"])) == steps:
        return
    here = resumed.place.step
    now, was = (learning_rate_factor(optim, length, steps_per_epoch)(here) for length in (steps, before))
    log.info(
        "the training grows from %d to %d steps: its learning rate goes on as one of %d steps has it here, %.3g of the"
        " largest instead of %.3g",
        before, steps, steps, now, was,
    )  # fmt: skip


def take_rates(schedule: Any) -> None:
    """Give the optimiser the learning rates of a schedule where it stands: what it kept are those of a shorter one."""
    assert isinstance(schedule, LambdaLR)
    factors = zip(schedule.base_lrs, schedule.lr_lambdas, strict=True)
    for group, (base, factor) in zip(schedule.optimizer.param_groups, factors, strict=True):
        group["lr"] = base * factor(schedule.last_epoch)
