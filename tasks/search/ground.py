"""Networks with weights and data under a search: surgery, short fine-tuning, scores, and the files of the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file

from backbone.disk import whole_file
from backbone.errors import InputError
from backbone.mobilenet import MobileNet
from backbone.units import explicit, units, with_unit
from tasks.search.pieces import Piece, backbone_pieces, head_pieces
from tasks.search.statistics import frozen_norms, images_of, moments, move
from tasks.search.surgery import kept_moments, strongest, transfer
from tasks.search.tuning import Tuning, recalibrate, scored
from tasks.training.teacher import Teacher

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import Tensor

    from backbone.architecture import Architecture
    from tasks.config.search import NetAdaptConfig
    from tasks.evaluators.base import Evaluator
    from tasks.model import VisionModel
    from tasks.search.data import SearchData
    from tasks.search.progress import SearchState
    from tasks.search.statistics import Moments

    Build = Callable[[Architecture], VisionModel]


RECALIBRATED = 10
"""Batches at least from which a proposal's batch statistics are computed."""


class Costs:
    """Cost of a network: the sum of its pieces' costs, scaled to the whole.

    Args:
        build: a model of an architecture, with any weights.
        backbone: of the starting network.
        size: side of the images in pixels.
        of_piece: cost of a piece: milliseconds, or millions of multiply-adds.
    Attributes:
        scale: the measured whole network over the sum of its pieces, by which sums are multiplied.
    """

    def __init__(self, build: Build, backbone: MobileNet, size: int, of_piece: Callable[[Piece], float]) -> None:
        self._build = build
        self._backbone = backbone
        self._size = size
        self._of_piece = of_piece
        self._sums: dict[str, float] = {}
        self._heads: dict[str, list[Piece]] = {}
        self.scale = 1.0

    def sum(self, architecture: Architecture) -> float:
        """Without `scale`."""
        key = repr(architecture)
        if key not in self._sums:
            config = self._backbone.config
            built = architecture.dilated(
                config.finest_stride, config.last_stride, dilate_first=self._backbone.dilate_first
            )
            found = [*backbone_pieces(self._backbone, built, self._size), *self._head_pieces(architecture, built)]
            self._sums[key] = sum(map(self._of_piece, found))
        return self._sums[key]

    def _head_pieces(self, architecture: Architecture, built: Architecture) -> list[Piece]:
        """Heads are built only where what they look at has another number of channels."""
        specs = built.specs
        key = repr([specs[feature] for feature in self._backbone.features])
        if key not in self._heads:
            with torch.device("meta"):
                model = self._build(architecture)
            self._heads[key] = list(head_pieces(model, self._size))
        return self._heads[key]

    def __call__(self, architecture: Architecture) -> float:
        return self.scale * self.sum(architecture)


class TrainedGround:
    """See `netadapt.Ground`.

    Args:
        folder: of the search; holds the weights of every network that is still needed.
        build: a model of an architecture, with any weights.
        start: the starting network, trained.
        evaluators: of the images held out, by head.
    """

    def __init__(
        self,
        folder: Path,
        config: NetAdaptConfig,
        build: Build,
        start: VisionModel,
        data: SearchData,
        evaluators: Mapping[str, Evaluator[Any]],
        costs: Costs,
        *,
        seed: int,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        self.config = config
        self.model = start
        self.data = data
        self.evaluators = evaluators
        self.cost = costs
        self._folder = folder
        self._build = build
        self._seed = seed
        self.weights = weights
        self._number = 0
        self._proposed: VisionModel = start
        self._moments: tuple[tuple[int, int], Tensor, Moments] | None = None
        self.teacher = Teacher(start, config.distill_weight) if config.distill_weight else None

    def start(self, state: SearchState) -> float:
        """See `netadapt.Ground.start`."""
        self._number = max(len(state.iterations) - 1, 0)
        if self._number:
            self.model = self._loaded(state.architecture)
            return state.iterations[-1].metric
        return scored(self.model, self.data.held_out(), self.evaluators)

    def narrowed(self, model: VisionModel, architecture: Architecture, iteration: int = 0) -> VisionModel:
        """A model with fewer channels that computes what `model` does without the others, frozen statistics moved.

        Args:
            iteration: whose images statistics are moved by.
        """
        kept = strongest(model, architecture)
        smaller = self._build(architecture).to(next(model.parameters()).device)
        transfer(model, smaller, kept)
        if frozen_norms(model):
            if self._moments is None or self._moments[0] != (id(model), iteration):
                images = images_of(self.data.training(iteration, RECALIBRATED)).to(next(model.parameters()).device)
                self._moments = ((id(model), iteration), images, moments(model, images))
            _, images, before = self._moments
            assert isinstance(model.backbone, MobileNet)
            move(smaller, images, kept_moments(explicit(model.backbone.config.undilated()), kept, before))
        return smaller

    def propose(self, architecture: Architecture, iteration: int) -> float:
        """See `netadapt.Ground.propose`."""
        self._proposed = self.narrowed(self.model, architecture, iteration)
        tuning = Tuning(
            self._proposed, self.config, seed=self._seed + iteration, weights=self.weights, teacher=self.teacher
        )
        for batch in self.data.training(iteration, self.config.short_steps):
            tuning.learn(batch)
        seen = list(self.data.training(iteration, max(self.config.short_steps, RECALIBRATED)))
        recalibrate(self._proposed, seen)
        return scored(self._proposed, self.data.held_out(), self.evaluators)

    def keep(self) -> None:
        """See `netadapt.Ground.keep`."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self._proposed.state_dict().items()}
        with whole_file(self._file(self._number + 1), durable=True) as part:
            save_file(tensors, part)

    def advance(self, architecture: Architecture) -> None:
        """See `netadapt.Ground.advance`."""
        self._number += 1
        self.model = self._loaded(architecture)
        self._file(self._number - 2).unlink(missing_ok=True)  # the one before is needed until the next state is written

    def _file(self, number: int) -> Path:
        return self._folder / f"network_{number}.safetensors"

    def _loaded(self, architecture: Architecture) -> VisionModel:
        path = self._file(self._number)
        if not path.is_file():
            raise InputError(f"{path}: is missing, so the search cannot go on; say another run_dir")
        model = self._build(architecture)
        model.load_state_dict(load_file(path))
        return model.to(next(self.model.parameters()).device)


def uniform(
    architecture: Architecture, limit: float, divisor: int, cost: Callable[[Architecture], float]
) -> Architecture:
    """All units narrowed by one factor, the largest with which the cost is at most `limit`: the control of a search.

    Raises:
        InputError: no factor is small enough.
    """

    def at(factor: float) -> Architecture:
        narrow = architecture
        for unit in units(architecture):
            channels = max(divisor, round(factor * unit.channels / divisor) * divisor)
            if channels < unit.channels:
                narrow = with_unit(narrow, unit.name, channels)
        return narrow

    low, high = 0.0, 1.0
    if cost(at(low)) > limit:
        raise InputError(f"a cost of {limit:.4g} cannot be reached by one width for all")
    while high - low > 1 / 128:
        middle = (low + high) / 2
        low, high = (middle, high) if cost(at(middle)) <= limit else (low, middle)
    return at(low)
