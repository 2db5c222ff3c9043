"""How a run trains: optimiser, trainer, logs. Imports nothing heavy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import Any

from backbone.errors import InputError


class Balance(Enum):
    """How the losses of several heads become one.

    `fixed` weighs them by `heads.NAME.loss_weight` alone; `uncertainty` learns a factor for each besides
    (arXiv:1705.07115).
    """

    fixed = "fixed"
    uncertainty = "uncertainty"


class Strategy(Enum):
    """How several processes share a model.

    The model is small (3.5 million parameters, 14 MB at width 1.0), so every process has all of it; sharding it (FSDP)
    would cost communication and save no memory worth having.
    """

    auto = "auto"
    """`ddp` where there are several processes."""
    ddp = "ddp"
    """Also start them, one for each GPU, where nothing else says how many."""


class OnNonfinite(Enum):
    """What happens at a loss that is not finite."""

    stop = "stop"
    skip = "skip"
    """The weights stay as they are in that step."""
    roll_back = "roll_back"
    """To the last checkpoint, and without that batch from there."""


class Algorithm(Enum):
    """Optimisers. `rmsprop` is the MobileNet papers'."""

    sgd = "sgd"
    rmsprop = "rmsprop"
    adamw = "adamw"


class Schedule(Enum):
    """How the learning rate falls after the warm-up, from step to step."""

    cosine = "cosine"
    poly = "poly"
    """(1 - step / steps) ^ 0.9, DeepLab's."""
    exponential = "exponential"
    """x 0.98 for every pass over the training set, the MobileNetV2 paper's."""
    constant = "constant"


AUTO = "auto"
"""`data.batch_size` or `trainer.precision` that is found by trial."""
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


@dataclass(kw_only=True, slots=True)
class OptimConfig:
    """Optimiser and schedule. Batch normalisation, biases and depthwise filters have no weight decay."""

    algorithm: Algorithm = Algorithm.sgd
    learning_rate: float = 0.05
    """Largest, after the warm-up; not scaled with the batch unless `scale_learning_rate` says so."""
    scale_learning_rate: int | None = None
    """Images in a step that `learning_rate` is meant for: it is multiplied by those of a step of all processes over
    them; null: it is used as it is."""
    momentum: float = 0.9
    decay: float = 0.9
    """RMSProp only: of the mean square."""
    eps: float = 1e-8
    """RMSProp and AdamW only."""
    weight_decay: float = 4e-5
    schedule: Schedule = Schedule.cosine
    warmup_steps: int = 100
    warmup_share: float | None = None
    """Share of all steps in place of `warmup_steps`; null: those."""
    backbone_factor: float = 1.0
    """Learning rate of the backbone over that of the heads; below 1 for pretrained weights."""
    heads_first: int = 0
    """Steps in the beginning in which the backbone stays as it is, its batch statistics too, and only heads learn."""
    balance: Balance = Balance.fixed
    """How the losses of several heads are weighted."""
    distill_weight: float = 1.0
    """Weight of what the network of `distill` says, beside the labels."""
    ema_decay: float | None = 0.998
    """Decay of the moving average of the weights, which is evaluated and saved; null: none. Ramps up from 0.1."""
    ema_share: float | None = None
    """Share of all steps that average looks back on, in place of `ema_decay`: that becomes 1 - 1 / (share x steps)."""

    def __post_init__(self) -> None:
        for name in ("learning_rate", "eps"):
            if not getattr(self, name) > 0:
                raise InputError(f"optim.{name}={getattr(self, name)}: must be positive")
        if self.scale_learning_rate is not None and self.scale_learning_rate < 1:
            raise InputError(
                f"optim.scale_learning_rate={self.scale_learning_rate}: must be a number of images, or null for none"
            )
        for name in ("momentum", "decay"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"optim.{name}={getattr(self, name)}: must be in [0, 1)")
        for name in ("weight_decay", "warmup_steps", "backbone_factor", "heads_first", "distill_weight"):
            if not getattr(self, name) >= 0:
                raise InputError(f"optim.{name}={getattr(self, name)}: must not be negative")
        for name in ("warmup_share", "ema_share"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1:
                raise InputError(f"optim.{name}={value}: must be in (0, 1), or null for none")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise InputError(f"optim.ema_decay={self.ema_decay}: must be in (0, 1), or null for none")


@dataclass(kw_only=True, slots=True)
class TrainerConfig:
    """How long and on what to train."""

    max_epochs: int | None = None
    """Passes over the training set."""
    max_steps: int | None = None
    """Optimiser steps; goes before `max_epochs`."""
    minutes: float | None = None
    """Time that the training may take, evaluations included: as many steps as fit by the measured time of some, and the
    schedule ends with them. A training that is stopped and goes on keeps their number. Goes before `max_epochs`."""
    min_steps: int | None = None
    """Optimiser steps at least, where `max_epochs` are fewer: a few images need more passes than many. null: none."""
    patience: int | None = None
    """Evaluations in a row without a better main metric after which the training ends; null: it takes all its steps."""
    accelerator: str = "auto"
    """auto, cpu, gpu, mps: as Lightning calls them."""
    devices: Any = None
    """Processes on each machine, one for each GPU; on the CPU they share its cores. A list names the GPUs, counted from
    0: [1] is the second. null: as many as torchrun or srun started, else one."""
    num_nodes: int | None = None
    """Machines; torchrun or srun starts the command on each of them. null: as many as there are."""
    strategy: Strategy = Strategy.auto
    timeout: int = 600
    """Seconds that a process waits for the others before the run ends."""
    sync_batchnorm: bool = False
    """Batch statistics over the images of all processes, as one process with all of them has; slower."""
    accumulate: int = 1
    """Batches of each process that make one step of the optimiser."""
    precision: str = "32-true"
    """32-true, bf16-mixed or 16-mixed. auto, in a training: bf16-mixed where this machine is faster with it, found by
    trial, and kept by a training that goes on."""
    gradient_clip: float | None = None
    """Largest norm of the gradient; null: no limit."""
    validate_every: int | None = None
    """Epochs between evaluations while training; null: about ten times in a run, and always at its end."""
    channels_last: bool = True
    """Memory layout of images and filters; faster for MobileNets on CPUs and GPUs."""
    deterministic: bool = False
    synchronise: bool = False
    """Wait for the GPU after each part of a step, so that `time.json` tells forward from backward; slower."""
    progress_bar: bool = True
    """Where the output is a terminal."""
    checkpoint_every: int | None = None
    """Optimiser steps between checkpoints to go on from; null: a minute, or longer, so that saving takes under 1 %."""
    on_nonfinite: OnNonfinite = OnNonfinite.stop
    """What to do at a loss that is not finite. Its images are kept in the run folder."""
    nonfinite_limit: int = 10
    """So many such steps are skipped or gone back from; one more ends the training."""

    def __post_init__(self) -> None:
        counts = (
            "max_epochs",
            "max_steps",
            "min_steps",
            "patience",
            "validate_every",
            "checkpoint_every",
            "nonfinite_limit",
        )
        for name in (*counts, "num_nodes", "timeout", "accumulate"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"trainer.{name}={value}: must be at least 1")
        if self.minutes is not None and not 0 < self.minutes < math.inf:
            raise InputError(f"trainer.minutes={self.minutes}: must be positive, or null for no limit")
        if self.minutes is not None and self.max_steps is not None:
            raise InputError(f"trainer.minutes={self.minutes}, trainer.max_steps={self.max_steps}: give one of them")
        self._check_devices()
        if self.precision not in (*PRECISIONS, AUTO):
            raise InputError(f"trainer.precision={self.precision}: must be one of {', '.join((*PRECISIONS, AUTO))}")
        if self.gradient_clip is not None and not self.gradient_clip > 0:
            raise InputError(f"trainer.gradient_clip={self.gradient_clip}: must be positive, or null for no limit")

    def _check_devices(self) -> None:
        given = self.devices
        if isinstance(given, list):
            named = [one for one in given if type(one) is int and one >= 0]
            if not given or len(set(named)) != len(given):
                raise InputError(f"trainer.devices={given}: must be numbers of GPUs from 0 on, each once, such as [1]")
            if self.accelerator in ("cpu", "mps"):
                raise InputError(
                    f"trainer.devices={given}: names GPUs; trainer.accelerator={self.accelerator} has none"
                )
        elif given is not None and (type(given) is not int or given < 1):
            raise InputError(
                f"trainer.devices={given}: must be a number of processes from 1 on, or a list of GPUs as [1]"
            )

    @property
    def named_gpus(self) -> list[int] | None:
        """Numbers of the GPUs that `devices` names, in the order of the processes; None where it names none."""
        return list(self.devices) if isinstance(self.devices, list) else None

    def check_gpus(self, there: int) -> None:
        """That the GPUs which `devices` names are on this machine.

        Args:
            there: how many it has.
        Raises:
            InputError: one is not.
        """
        if self.named_gpus is not None and max(self.named_gpus) >= there:
            has = f"GPUs 0 to {there - 1}" if there > 1 else "GPU 0 only" if there else "no GPU"
            raise InputError(f"trainer.devices={self.named_gpus}: this machine has {has}")

    @property
    def processes(self) -> int | None:
        """How many on this machine; None where nothing is said."""
        return len(self.devices) if isinstance(self.devices, list) else self.devices
