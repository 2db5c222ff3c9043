"""What every search works with: model, data, costs, and what is left of a network that was found."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file

from backbone.architecture_file import write as write_architecture
from backbone.config import MobileNetConfig
from backbone.errors import InputError
from backbone.families.searched import searched
from backbone.mobilenet import MobileNet
from tasks.checkpoints.model_file import _header, read_header, save_model
from tasks.config.latency import LatencyConfig
from tasks.config.run import Command
from tasks.data.loading.collate import Collate
from tasks.data.transforms.build import evaluation_transform, train_transform
from tasks.search.data import HeldOut, SearchData, batches, divided
from tasks.search.ground import Costs
from tasks.search.measure import Stopwatch
from tasks.search.pieces import MultiplyAdds
from tasks.search.progress import Outcome, read_outcomes, write_outcomes
from tasks.search.table import LatencyTable
from tasks.search.tuning import Tuning, scored

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from backbone.architecture import Architecture
    from tasks.commands.job import Job
    from tasks.config.search import SearchConfig
    from tasks.evaluators.base import Evaluator
    from tasks.model import VisionModel
    from tasks.search.supernet import Supernet
    from tasks.training.teacher import Teacher

log = logging.getLogger(__name__)

STATE = "search.json"
OUTCOMES = "outcome.json"
ALIKE = {"save_every"}
"""Options with which a search stays the same."""


class Search:
    """What mode=search works with.

    Args:
        job: its backbone is that of the checkpoint, if there is one; a search that is in its folder goes on.
        checkpoint: of the starting network; None: it has weights by chance.
    Raises:
        InputError: something does not fit.
    """

    def __init__(
        self, job: Job, section: SearchConfig, latency: LatencyConfig, *, checkpoint: str | None, seed: int
    ) -> None:
        builder, folder, command = job.builder, job.folder, job.command
        if not isinstance(builder.backbone, MobileNetConfig):
            raise InputError("mode=search: changes a MobileNet; this backbone is somebody else's")
        if folder.exists() and any(folder.iterdir()) and not (folder / STATE).exists():
            raise InputError(f"run_dir={folder}: is not empty and holds no search; name another folder")
        self.builder, self.folder, self.command = builder, folder, command
        self.section, self.seed = section, seed
        self.by_latency = section.latency is not None
        self.watch = Stopwatch(latency) if self.by_latency else None
        self.splits = builder.splits()
        self.labels = builder.labels(self.splits)
        if checkpoint is None:
            self.start = builder.model(self.labels)
            choices = command.choices
        else:
            self.start, _ = builder.trained_model(checkpoint=checkpoint, data=self.labels)
            choices = read_header(checkpoint).choices
        self.start.eval()
        said = {word.lstrip("+").partition("=")[0] for word in command.overrides}
        self._choices = choices | {group: option for group, option in command.choices.items() if group in said}
        assert isinstance(self.start.backbone, MobileNet)
        backbone = self.start.backbone
        self.adopted: dict[str, Any] = {
            # Heads that learned on frozen statistics know those features alone.
            "freeze_at": None, "freeze_bn": backbone.config.freeze_bn or backbone.config.freeze_at is not None,
            "padding": backbone.padding, "dilate_first": backbone.dilate_first, "bn_eps": backbone.bn_eps,
            "input_mean": list(backbone.input_mean), "input_std": list(backbone.input_std),
        }  # fmt: skip
        job.begin()
        self.size = builder.transform.image_size
        self.table: LatencyTable | None = None
        if self.watch is not None:
            path = Path(latency.table) if latency.table is not None else folder / "latency.json"
            self.table = LatencyTable(path, self.watch.about(), self.watch.piece)
        of_piece = MultiplyAdds() if self.table is None else self.table.milliseconds
        self.costs = Costs(self.build, backbone, self.size, of_piece)
        self.words = {"checkpoint": checkpoint, "seed": seed, **_plain(section), **_plain(latency)}
        if checkpoint is None:
            start: Any = OmegaConf.to_container(OmegaConf.structured(builder.backbone), enum_to_str=True)
            self.words |= {"backbone": start, "transform.image_size": self.size}
        self.first = builder.backbone.undilated()

    def build(self, architecture: Architecture) -> VisionModel:
        """A model of an architecture that is about to get weights."""
        return self.builder.on(self.backbone_of(architecture)).model(self.labels)

    def fresh(self, architecture: Architecture) -> VisionModel:
        """A model of an architecture with weights by chance, to be trained from scratch: nothing is frozen."""
        torch.manual_seed(self.seed)
        builder = self.builder.on(self.backbone_of(architecture, freeze_bn=False))
        return builder.model(self.labels).to(self.builder.device)

    def backbone_of(self, architecture: Architecture, **changed: Any) -> Any:
        """The backbone's configuration with another network, and `changed` of what is adopted from the start."""
        return searched(self.builder.backbone, architecture, **self.adopted | changed)

    def scale(self) -> float:
        """What the whole starting network takes over the sum of its pieces; 1 where it cannot be measured."""
        if self.table is None or self.watch is None or self.table.is_elsewhere:
            return 1.0
        total, (whole,) = self.costs.sum(self.first), self.watch.networks([self.start], self.size)
        log.info(
            "the whole network takes %.3f ms, its pieces %.3f ms together (%+.1f %%): sums are scaled by that",
            whole.fast, total, 100 * (total / whole.fast - 1),
        )  # fmt: skip
        return whole.fast / total

    @property
    def budget(self) -> float:
        """Milliseconds, or millions of multiply-adds."""
        return float(self.section.latency or self.section.multiply_adds or 0)

    @property
    def unit(self) -> str:
        """Unit of the costs."""
        return "ms" if self.by_latency else "M multiply-adds"

    @property
    def weights(self) -> dict[str, float]:
        """Weights of the heads' losses."""
        return {name: head.loss_weight for name, head in self.builder.heads.items()}

    def data(self) -> tuple[SearchData, dict[str, Evaluator[Any]]]:
        """Training images, some held out, and the evaluators of those by head."""
        section, builder = self.section, self.builder
        train: Any = self.splits.train
        learned, held = divided(len(train), section.hold_out, section.max_hold_out, self.seed)
        log.info("%d training images to learn from, %d held out to compare networks on", len(learned), len(held))
        data = SearchData(
            train, learned, held,
            train=train_transform(builder.transform), evaluate=evaluation_transform(builder.transform),
            collate=self.collate, batch_size=builder.data.batch_size, seed=self.seed,
            same_size=builder.transform.same_size,
        )  # fmt: skip
        evaluators = {
            name: builder.evaluator(name, HeldOut(self.splits.of(name).train, held), self.labels[name])
            for name in builder.heads
        }
        return data, evaluators

    @property
    def collate(self) -> Collate:
        return Collate({name: head.kind.value for name, head in self.builder.heads.items()})

    def learn(
        self, name: str, model: VisionModel, steps: int, data: SearchData, teacher: Teacher | None = None, *,
        learning_rate: float | None = None, positions: Sequence[int] | None = None,
    ) -> None:  # fmt: skip
        """Train in place, on from where a training of this name was saved last; the learning rate falls to zero.

        Args:
            learning_rate: None: the configured one.
            positions: of the images to learn from; None: all of the training split.
        """
        if steps:
            section = self.section if learning_rate is None else replace(self.section, learning_rate=learning_rate)
            tuning = Tuning(model, section, seed=self.seed, decayed_over=steps, weights=self.weights, teacher=teacher)
            self.train(name, tuning, self.training_file(name), steps, data, positions)
            model.eval()

    def train(
        self, name: str, training: Tuning | Supernet, path: Path, steps: int, data: SearchData,
        positions: Sequence[int] | None = None,
    ) -> None:  # fmt: skip
        """Go on up to a number of steps, saved to a file every `search.save_every` of them."""
        if path.is_file():
            training.load(path)
        started, first = time.monotonic(), training.step
        for batch in islice(data.stream(positions, skipped=first), steps - first):
            training.learn(batch)
            if training.step % self.section.save_every == 0 or training.step == steps:
                training.save(path)
                rate = (training.step - first) / (time.monotonic() - started)
                log.info(
                    "%s: step %d of %d, %.2g steps/s, about %d min left",
                    name, training.step, steps, rate, round((steps - training.step) / rate / 60),
                )  # fmt: skip

    def training_file(self, name: str) -> Path:
        """Where a training of this name is saved until it is finished."""
        return self.folder / f"{name}_training.safetensors"

    def has_ended(self, name: str) -> bool:
        """Whether a network that the search ends with is trained and scored."""
        return name in read_outcomes(self.folder / OUTCOMES)

    def ended(
        self, name: str, architecture: Architecture, model: VisionModel, train: Callable[[], None]
    ) -> tuple[Outcome, VisionModel]:
        """One of the networks that the search ends with: trained and scored, or as it was if that was done before.

        Args:
            model: it gets the weights.
            train: trains it in place.
        """
        path = self.folder / OUTCOMES
        known = read_outcomes(path)
        if name in known:
            if name != "start":
                model.load_state_dict(load_file(self.folder / f"{_prefix(name)}model.safetensors"))
            return known[name], model
        train()
        outcome = self.outcome(name, model, architecture)
        write_outcomes(path, [*known.values(), outcome])
        self.training_file(name).unlink(missing_ok=True)
        return outcome, model

    def outcome(self, name: str, model: VisionModel, architecture: Architecture) -> Outcome:
        """Score on the validation split; all but the start are saved, the one found by itself."""
        builder = self.builder
        evaluators: dict[str, Evaluator[Any]] = builder.evaluators(self.splits, "val")
        transform = evaluation_transform(builder.transform)
        size = builder.data.batch_size if builder.transform.same_size else 1
        metric = scored(model, batches(self.splits.val, transform, self.collate, size), evaluators)
        metrics = {f"{one.prefix}{key}": value for one in evaluators.values() for key, value in one.metrics().items()}
        if name != "start":
            write_architecture(self.folder / f"{_prefix(name)}architecture.yaml", architecture)
            self.save(self.folder / f"{_prefix(name)}model.safetensors", model, architecture)
        return Outcome(name=name, cost=self.costs(architecture), measured_ms=None, metric=metric, metrics=metrics)

    def time(self, found: Sequence[tuple[Outcome, VisionModel]]) -> list[Outcome]:
        """Time the whole networks, which take turns, where the budget is one of milliseconds on this machine."""
        if self.watch is not None and self.table is not None and not self.table.is_elsewhere:
            measured = self.watch.networks([model for _, model in found], self.size)
            for (outcome, _), timing in zip(found, measured, strict=True):
                outcome.measured_ms = timing.fast
        outcomes = [outcome for outcome, _ in found]
        write_outcomes(self.folder / OUTCOMES, outcomes)
        return outcomes

    def save(self, path: Path, model: VisionModel, architecture: Architecture) -> None:
        """Write a checkpoint as a training does."""
        save_model(path, model, _header(self._said(architecture, model), self.labels, model))

    def _said(self, architecture: Architecture, model: VisionModel) -> Command:
        """What a checkpoint says of itself: the words of this run, with the network that was found."""
        assert isinstance(model.backbone, MobileNet)
        config = self.backbone_of(architecture, freeze_bn=model.backbone.config.freeze_bn)
        backbone = OmegaConf.to_container(OmegaConf.structured(config), enum_to_str=True)
        return Command(
            overrides=self.command.overrides,
            choices=self._choices | {"backbone": "searched"},
            written=self.command.written | {"backbone": backbone},
        )


def _prefix(name: str) -> str:
    return "" if name == "searched" else f"{name}_"


def _plain(section: Any) -> dict[str, Any]:
    name = "latency" if isinstance(section, LatencyConfig) else "search"
    found: Any = OmegaConf.to_container(OmegaConf.structured(section), enum_to_str=True)
    return {f"{name}.{key}": value for key, value in found.items() if key not in ALIKE}
