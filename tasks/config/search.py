"""What mode=search looks for, and how. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from backbone.errors import InputError


class Choice(Enum):
    """Which of the proposals of an iteration is taken."""

    ratio = "ratio"
    """Largest change of the metric over the change of the cost (MobileNetV3, section 4.2)."""
    best = "best"
    """Highest metric (NetAdapt)."""


@dataclass(kw_only=True, slots=True)
class SearchConfig:
    """NetAdapt, arXiv:1804.03230: channels are removed step by step until a budget is met.

    The budget is `latency`, in milliseconds of one image in the runtime of `latency.*`, or `multiply_adds`.
    """

    latency: float | None = None
    """Milliseconds that the whole network may take."""
    multiply_adds: float | None = None
    """Millions that the whole network may take."""
    choice: Choice = Choice.ratio
    first_step: float = 0.025
    """Share of the initial cost that the first iteration removes."""
    step_decay: float = 0.96
    """Factor of that share from one iteration to the next."""
    divisor: int = 8
    """Channels are removed in groups of so many, and so many stay."""
    short_steps: int = 30
    """Fine-tuning of every proposal."""
    long_steps: int = 500
    """Fine-tuning of the result, and of the control."""
    learning_rate: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 1e-4
    gradient_clip: float | None = 1.0
    """Largest norm of the gradients of a step, of all weights together; null: any. A network that has just lost
    channels has gradients a hundred times larger than after some steps, and without a limit they destroy it."""
    distill_weight: float = 0.0
    """Weight of what the starting network says, beside the labels, in every fine-tuning; 0: it is not asked."""
    hold_out: float = 0.2
    """Share of the training images that proposals are compared on instead; they come back for the long fine-tuning."""
    max_hold_out: int = 1000
    """Images that are held out at most."""
    control: bool = True
    """Fine-tune the starting network with all units narrowed alike to the same cost, too."""

    def __post_init__(self) -> None:
        for name in ("latency", "multiply_adds"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise InputError(f"search.{name}={value}: must be positive")
        for name in ("first_step", "step_decay", "hold_out"):
            if not 0 < getattr(self, name) <= (1 if name == "step_decay" else 0.5):
                highest = 1 if name == "step_decay" else 0.5
                raise InputError(f"search.{name}={getattr(self, name)}: must be above 0 and at most {highest}")
        for name in ("divisor", "max_hold_out"):
            if getattr(self, name) < 1:
                raise InputError(f"search.{name}={getattr(self, name)}: must be at least 1")
        for name in ("short_steps", "long_steps", "weight_decay", "momentum", "distill_weight"):
            if getattr(self, name) < 0:
                raise InputError(f"search.{name}={getattr(self, name)}: must not be negative")
        if self.gradient_clip is not None and not self.gradient_clip > 0:
            raise InputError(f"search.gradient_clip={self.gradient_clip}: must be positive, or null for no limit")
        if not self.momentum < 1:
            raise InputError(f"search.momentum={self.momentum}: must be below 1")
        if not self.learning_rate > 0:
            raise InputError(f"search.learning_rate={self.learning_rate}: must be positive")

    def check_budget(self) -> None:
        """See that there is one budget.

        Raises:
            InputError: there are none or two.
        """
        if (self.latency is None) == (self.multiply_adds is None):
            raise InputError(
                f"search.latency={self.latency}, search.multiply_adds={self.multiply_adds}: give one of them, in"
                " milliseconds or in millions"
            )
