"""What mode=search looks for, and how. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from backbone.errors import InputError

KERNELS = {3, 5, 7}
MAX_EXPANSION = 10
MAX_FACTOR = 4
MAX_BLOCKS = 4
MIN_RANKED = 8
"""Networks below which a rank correlation says nothing."""


class Choice(Enum):
    """Which of the proposals of an iteration is taken."""

    ratio = "ratio"
    """Largest change of the metric over the change of the cost (MobileNetV3, section 4.2)."""
    best = "best"
    """Highest metric (NetAdapt)."""


@dataclass(kw_only=True, slots=True)
class SearchConfig:
    """What every search is told.

    The budget is `latency`, in milliseconds of one image in the runtime of `latency.*`, or `multiply_adds`.
    """

    latency: float | None = None
    """Milliseconds that the whole network may take."""
    multiply_adds: float | None = None
    """Millions that the whole network may take."""
    divisor: int = 8
    """Channels come in groups of so many, and so many stay at least."""
    long_steps: int = 500
    """Training of the result, and of the control."""
    learning_rate: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 1e-4
    gradient_clip: float | None = 1.0
    """Largest norm of the gradients of a step, of all weights together; null: any. A network that has just lost
    channels has gradients a hundred times larger than after some steps, and without a limit they destroy it."""
    hold_out: float = 0.2
    """Share of the training images that networks are compared on instead; they come back for the long training."""
    max_hold_out: int = 1000
    """Images that are held out at most."""
    save_every: int = 100
    """Steps from one saved state of a long training to the next: it goes on from there where it was stopped."""
    control: bool = True
    """Train the starting network with all units narrowed alike to the same cost, too."""

    def __post_init__(self) -> None:
        for name in ("latency", "multiply_adds", "gradient_clip"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise InputError(f"search.{name}={value}: must be positive{', or null' * (name == 'gradient_clip')}")
        check_share("hold_out", self.hold_out, 0.5)
        check_least(self, 1, "divisor", "max_hold_out", "save_every")
        check_least(self, 0, "long_steps", "weight_decay", "momentum")
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


@dataclass(kw_only=True, slots=True)
class NetAdaptConfig(SearchConfig):
    """NetAdapt, arXiv:1804.03230: channels are removed step by step until a budget is met."""

    choice: Choice = Choice.ratio
    first_step: float = 0.025
    """Share of the initial cost that the first iteration removes."""
    step_decay: float = 0.96
    """Factor of that share from one iteration to the next."""
    short_steps: int = 30
    """Fine-tuning of every proposal."""
    scratch_steps: int = 0
    """Training of the result, and of the control, from weights by chance, beside the long fine-tuning; 0: there is
    none."""
    scratch_learning_rate: float = 0.05
    """Of that training."""
    distill_weight: float = 0.0
    """Weight of what the starting network says, beside the labels, in every fine-tuning; 0: it is not asked."""

    def __post_init__(self) -> None:
        SearchConfig.__post_init__(self)
        check_share("first_step", self.first_step, 0.5)
        check_share("step_decay", self.step_decay, 1)
        check_least(self, 0, "short_steps", "scratch_steps", "distill_weight")
        if not self.scratch_learning_rate > 0:
            raise InputError(f"search.scratch_learning_rate={self.scratch_learning_rate}: must be positive")


@dataclass(kw_only=True, slots=True)
class BlocksConfig(SearchConfig):
    """Platform-aware search over the blocks of a network, each stage by itself (MnasNet, arXiv:1807.11626).

    Candidates take their weights from one network that holds all of them, trained by one path at a step
    (arXiv:1904.00420), and are found by evolution. Stages, strides and heads are the configured backbone's.
    """

    kernels: list[int] = field(default_factory=lambda: [3, 5])
    """Sides of the depthwise filters."""
    expansions: list[int] = field(default_factory=lambda: [3, 6])
    """Channels between expansion and projection for one of the input, in stages whose blocks expand."""
    squeezes: list[bool] = field(default_factory=lambda: [False, True])
    """Whether blocks have squeeze-and-excitation, a quarter of the expansion inside."""
    widths: list[float] = field(default_factory=lambda: [0.75, 1.0, 1.25])
    """Factors of a stage's channels."""
    depths: list[int] = field(default_factory=lambda: [-1, 0, 1])
    """Blocks more or fewer in a stage; one stays."""
    steps: int = 5000
    """Training of the network that holds all."""
    candidates: int = 200
    """Scored by evolution, and as many by chance."""
    population: int = 40
    """First candidates of the evolution, by chance."""
    parents: int = 10
    """Best candidates that the next come from."""
    mutation: float = 0.1
    """Chance of every choice to be drawn anew in a mutated candidate."""
    exponent: float = -0.07
    """Of cost / budget in the reward, metric x (cost / budget) ^ exponent; -0.07: twice the cost for 5 % more."""
    recalibration: int = 10
    """Batches from which a candidate's batch statistics are computed."""
    ranked: int = 8
    """Networks by chance that are also trained from scratch, to see whether the shared weights rank them alike."""
    ranked_steps: int = 500
    """Training of each of those."""
    learning_rate: float = 0.05
    weight_decay: float = 4e-5
    gradient_clip: float | None = 5.0

    def __post_init__(self) -> None:
        SearchConfig.__post_init__(self)
        for name in ("kernels", "expansions", "squeezes", "widths", "depths"):
            values = getattr(self, name)
            if not values or len(set(values)) != len(values):
                raise InputError(f"search.{name}={values}: must be one value or more, each once")
        if set(self.kernels) - KERNELS:
            raise InputError(f"search.kernels={self.kernels}: must be of {', '.join(map(str, sorted(KERNELS)))}")
        if min(self.expansions) < 1 or max(self.expansions) > MAX_EXPANSION:
            raise InputError(f"search.expansions={self.expansions}: must be 1 .. {MAX_EXPANSION}")
        if not all(0 < width <= MAX_FACTOR for width in self.widths):
            raise InputError(f"search.widths={self.widths}: must be above 0 and at most {MAX_FACTOR}")
        if not all(abs(depth) <= MAX_BLOCKS for depth in self.depths):
            raise InputError(f"search.depths={self.depths}: must be -{MAX_BLOCKS} .. {MAX_BLOCKS}")
        check_least(self, 1, "steps", "candidates", "population", "parents", "recalibration")
        check_least(self, 0, "ranked_steps")
        check_least(self, MIN_RANKED, "ranked")
        if self.candidates < self.ranked:
            raise InputError(f"search.candidates={self.candidates}: must be at least search.ranked={self.ranked}")
        check_share("mutation", self.mutation, 1)
        if not -10 <= self.exponent <= 0:
            raise InputError(f"search.exponent={self.exponent}: must be -10 .. 0")


def check_share(name: str, value: float, highest: float) -> None:
    """See that a share is above 0 and at most `highest`."""
    if not 0 < value <= highest:
        raise InputError(f"search.{name}={value}: must be above 0 and at most {highest}")


def check_least(config: SearchConfig, least: int, *names: str) -> None:
    """See that values are not below `least`."""
    for name in names:
        if getattr(config, name) < least:
            said = "must not be negative" if least == 0 else f"must be at least {least}"
            raise InputError(f"search.{name}={getattr(config, name)}: {said}")
