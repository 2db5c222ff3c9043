"""mode=search: from a trained network and a budget to a smaller one, beside the control of one width for all."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from backbone.architecture_file import write as write_architecture
from backbone.config import MobileNetConfig
from backbone.disk import write_whole
from backbone.errors import InputError
from backbone.families.searched import searched
from backbone.mobilenet import MobileNet
from backbone.units import explicit
from tasks.checkpoints.model_file import (
    _header,
    read_header,
    save_model,
)
from tasks.commands.search.page import write_page
from tasks.config.run import Command
from tasks.data.loading.collate import Collate
from tasks.data.transforms.build import evaluation_transform, train_transform
from tasks.runs import folder as run_folder
from tasks.search.data import HeldOut, SearchData, batches, divided
from tasks.search.ground import Costs, TrainedGround, uniform
from tasks.search.measure import Stopwatch
from tasks.search.netadapt import search as netadapt
from tasks.search.pieces import MultiplyAdds
from tasks.search.progress import Outcome, SearchState
from tasks.search.table import LatencyTable
from tasks.search.tuning import fine_tune, scored

if TYPE_CHECKING:
    from backbone.architecture import Architecture
    from tasks.commands.job import Job
    from tasks.config.latency import LatencyConfig
    from tasks.config.search import SearchConfig
    from tasks.evaluators.base import Evaluator
    from tasks.model import VisionModel

log = logging.getLogger(__name__)

STATE = "search.json"


class Search:
    """What mode=search works with.

    Args:
        job: its backbone is that of the checkpoint; a search that is in its folder goes on.
        checkpoint: of the starting network.
    Raises:
        InputError: something does not fit.
    """

    def __init__(self, job: Job, section: SearchConfig, latency: LatencyConfig, *, checkpoint: str, seed: int) -> None:
        builder, folder, command = job.builder, job.folder, job.command
        if not isinstance(builder.backbone, MobileNetConfig):
            raise InputError("mode=search: narrows a MobileNet; the checkpoint's backbone is somebody else's")
        if folder.exists() and any(folder.iterdir()) and not (folder / STATE).exists():
            raise InputError(f"run_dir={folder}: is not empty and holds no search; name another folder")
        self.builder, self.folder, self.command = builder, folder, command
        self.section, self.seed = section, seed
        self.by_latency = section.latency is not None
        self.watch = Stopwatch(latency) if self.by_latency else None
        self.splits = builder.splits()
        self.labels = builder.labels(self.splits)
        self.start, _ = builder.trained_model(checkpoint=checkpoint, data=self.labels)
        self.start.eval()
        choices = read_header(checkpoint).choices
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
        words = {
            "checkpoint": checkpoint,
            "seed": seed,
            **_plain(section),
            **_plain(latency),
        }
        self.first = explicit(builder.backbone.undilated())
        self.state = SearchState.opened(folder / STATE, words, self.first)

    def build(self, architecture: Architecture) -> VisionModel:
        """A model of an architecture, with weights by chance."""
        return self.builder.on(self.backbone_of(architecture)).model(self.labels)

    def backbone_of(self, architecture: Architecture) -> Any:
        """The backbone's configuration with another network."""
        return searched(self.builder.backbone, architecture, **self.adopted)

    def set_scale(self) -> None:
        """Scale sums of pieces to what the whole starting network takes, where it can be measured."""
        if self.table is None or self.watch is None or self.table.is_elsewhere:
            return
        if not self.state.iterations:
            total, whole = self.costs.sum(self.first), self.watch.network(self.start, self.size)
            self.state.scale = whole.fast / total
            log.info(
                "the whole network takes %.3f ms, its pieces %.3f ms together (%+.1f %%): sums are scaled by that",
                whole.fast, total, 100 * (total / whole.fast - 1),
            )  # fmt: skip
        self.costs.scale = self.state.scale

    def ground(self) -> TrainedGround:
        """Networks, data and scores under the search."""
        section, builder = self.section, self.builder
        train: Any = self.splits.train
        learned, held = divided(len(train), section.hold_out, section.max_hold_out, self.seed)
        log.info("%d training images to learn from, %d held out to compare proposals on", len(learned), len(held))
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
        return TrainedGround(
            self.folder, section, self.build, self.start, data, evaluators, self.costs,
            seed=self.seed, weights={name: head.loss_weight for name, head in builder.heads.items()},
        )  # fmt: skip

    @property
    def collate(self) -> Collate:
        return Collate({name: head.kind.value for name, head in self.builder.heads.items()})

    def finish(self, name: str, model: VisionModel, architecture: Architecture, ground: TrainedGround) -> Outcome:
        """Fine-tune long on all training images, score on the validation split, and save."""
        section, builder = self.section, self.builder
        steps = 0 if name == "start" else section.long_steps
        if name == "uniform":  # as much learning as the searched network had
            steps += section.short_steps * (len(self.state.iterations) - 1)
        if steps:
            fine_tune(
                model, islice(ground.data.stream(), steps), section, seed=self.seed, decayed_over=steps,
                weights=ground.weights, teacher=ground.teacher,
            )  # fmt: skip
        evaluators: dict[str, Evaluator[Any]] = builder.evaluators(self.splits, "val")
        transform = evaluation_transform(builder.transform)
        size = builder.data.batch_size if builder.transform.same_size else 1
        metric = scored(model, batches(self.splits.val, transform, self.collate, size), evaluators)
        metrics = {
            f"{one.prefix}{metric}": value for one in evaluators.values() for metric, value in one.metrics().items()
        }
        measured = None
        if self.watch is not None and self.table is not None and not self.table.is_elsewhere:
            measured = self.watch.network(model, self.size).fast
        if name != "start":
            prefix = "" if name == "searched" else f"{name}_"
            write_architecture(self.folder / f"{prefix}architecture.yaml", architecture)
            self.save(self.folder / f"{prefix}model.safetensors", model, architecture)
        return Outcome(
            name=name, cost=self.costs(architecture), measured_ms=measured, metric=metric,
            metrics=metrics,
        )  # fmt: skip

    def save(self, path: Path, model: VisionModel, architecture: Architecture) -> None:
        """Write a checkpoint as a training does."""
        save_model(path, model, _header(self._said(architecture), self.labels, model))

    def _said(self, architecture: Architecture) -> Command:
        """What a checkpoint says of itself: the words of this run, with the network that was found."""
        backbone = OmegaConf.to_container(OmegaConf.structured(self.backbone_of(architecture)), enum_to_str=True)
        return Command(
            overrides=self.command.overrides,
            choices=self._choices | {"backbone": "searched"},
            written=self.command.written | {"backbone": backbone},
        )


def search(job: Job, section: SearchConfig, latency: LatencyConfig, *, checkpoint: str, seed: int) -> bool:
    """Search, fine-tune what was found and the control, and report both.

    Args:
        checkpoint: of the starting network.
    Returns:
        Whether Ctrl-C ended it: then the best network so far is there as `architecture.yaml` and `model.safetensors`,
        and the same words go on.
    """
    work = Search(job, section, latency, checkpoint=checkpoint, seed=seed)
    work.set_scale()
    ground = work.ground()
    budget = float(section.latency or section.multiply_adds or 0)
    try:
        found = netadapt(section, budget, work.state, ground)
        outcomes = [work.finish("start", work.start, work.first, ground)]
        outcomes.append(work.finish("searched", ground.model, found, ground))
        if section.control:
            control = uniform(work.first, outcomes[1].cost, section.divisor, work.costs)
            outcomes.append(work.finish("uniform", ground.narrowed(work.start, control), control, ground))
    except KeyboardInterrupt:
        if len(work.state.iterations) > 1:
            write_architecture(work.folder / "architecture.yaml", work.state.architecture)
            work.save(work.folder / "model.safetensors", ground.model, work.state.architecture)
            last = work.state.iterations[-1]
            log.warning(
                "stopped at a cost of %.4g and a metric of %.4f; the network so far is in %s",
                last.cost,
                last.metric,
                work.folder,
            )
        log.warning("the same words go on with the search")
        return True
    unit = "ms" if work.by_latency else "M multiply-adds"
    for one in outcomes:
        whole = "" if one.measured_ms is None else f", {one.measured_ms:.3f} ms measured"
        log.info("%-8s %s %.4f, %.4g %s%s", one.name, "metric", one.metric, one.cost, unit, whole)
    run_folder.write_metrics(work.folder, {"val": outcomes[1].metrics})
    write_whole(work.folder / "outcome.json", json.dumps([asdict(one) for one in outcomes], indent=2))
    write_page(work.folder, work.state, outcomes, budget, unit)
    log.info("everything is in %s", work.folder)
    return False


def _plain(section: Any) -> dict[str, Any]:
    name = type(section).__name__.removesuffix("Config").lower()
    found: Any = OmegaConf.to_container(OmegaConf.structured(section), enum_to_str=True)
    return {f"{name}.{key}": value for key, value in found.items()}
