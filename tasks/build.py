"""From a checked configuration to the parts of a run: the last place that sees all of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from backbone.build import build_backbone
from backbone.errors import InputError
from heads.build import build_head
from heads.kinds import Kind
from heads.tiling import Tiling
from tasks.checkpoints.join_heads import start_heads
from tasks.checkpoints.model_file import check_labels, is_foreign, known_labels, load_into, read_header
from tasks.checkpoints.public_weights import load_heads, public_labels
from tasks.checkpoints.starting import start_from
from tasks.config.heads import part_of
from tasks.config.run import RunConfig, Task
from tasks.data import build as data_sets
from tasks.data.division import DivisionFiles
from tasks.data.labels import LabelMap
from tasks.data.loading.loaders import Loaders
from tasks.data.transforms.build import evaluation_transform
from tasks.deploy.opening import load_artifact, object_side_of
from tasks.distributed import group
from tasks.evaluators.classification import ClassificationEvaluator
from tasks.evaluators.detection import DetectionEvaluator
from tasks.evaluators.segmentation import SegmentationEvaluator
from tasks.model import VisionModel
from tasks.papers.references import Reference, references
from tasks.predictor import Predictor
from tasks.report.facts import RunFacts
from tasks.report.page import Report
from tasks.runs import best_scores
from tasks.runs.folder import DIVISION
from tasks.runs.machine import device_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tasks.config.predict import PredictConfig
    from tasks.data.splits import DataSplits, JointSplits
    from tasks.evaluators.base import Evaluator

EVALUATORS: dict[Kind, Callable[..., Evaluator[Any]]] = {
    Kind.classification: ClassificationEvaluator,
    Kind.detection: DetectionEvaluator,
    Kind.segmentation: SegmentationEvaluator,
}


class Builder:
    """Makes the parts of a run.

    Args:
        config: the checked configuration.
        folder: of the run, where it has one.

    Attributes:
        task: what is learned.
        heads: configuration of every head by its name.
        backbone, transform, data, logger: sections of the configuration; data and logger may be somebody else's.
    """

    def __init__(self, config: RunConfig, folder: Path | None = None) -> None:
        self._config = config
        self._folder = folder
        self.task = config.task
        self.heads = config.named_heads()
        self.backbone = config.backbone
        self.transform = config.transform
        self.data = config.data
        self.logger = config.logger

    def on(self, backbone: Any) -> Builder:
        """The same run with another backbone's configuration."""
        return Builder(replace(self._config, backbone=backbone), self._folder)

    def with_batches(self, images: int) -> Builder:
        """The same run with batches of so many images."""
        return Builder(replace(self._config, data=replace(self.data, batch_size=images)), self._folder)

    def with_precision(self, precision: str) -> Builder:
        """The same run in another type."""
        trainer = replace(self._config.trainer, precision=precision)
        return Builder(replace(self._config, trainer=trainer), self._folder)

    @property
    def device(self) -> torch.device:
        """Device of the run.

        Raises:
            InputError: see `tasks.runs.machine.device_of`.
        """
        return device_of(self._config.trainer)

    def splits(self) -> DataSplits | JointSplits:
        """The data, checked; with a training split where the mode needs one."""
        config = self._config
        need_train = config.needs_train
        if config.task is Task.multitask:
            needs = {name: data_sets.Need(head.kind.value, part_of(name, head)) for name, head in self.heads.items()}
            return data_sets.build_joint(config.data, needs, need_train=need_train, files=self._division)
        return data_sets.build_splits(config.data, config.task.value, need_train=need_train, files=self._division)

    @property
    def _division(self) -> DivisionFiles:
        """Where data.split is written down: in the folder of the run, and beside the model that it evaluates."""
        model = self._config.checkpoint or self._config.artifact
        own = None if self._folder is None else self._folder / DIVISION
        beside = [] if model is None else [Path(model).parent / DIVISION]
        return DivisionFiles([*beside, *([] if own is None else [own])], own)

    def labels(self, splits: DataSplits | JointSplits) -> dict[str, LabelMap]:
        """Labels of the data by the head's name."""
        return {name: splits.of(name).labels for name in self.heads}

    def model(self, labels: LabelMap | Mapping[str, LabelMap]) -> VisionModel:
        """The backbone, with its weights if it names any, and new heads on it.

        Args:
            labels: by the head's name, or those of the only head.
        """
        image_size, specs = self.transform.image_size, self.backbone.specs
        heads = {
            name: build_head(
                one.head,
                specs,
                num_classes=(labels if isinstance(labels, LabelMap) else labels[name]).num_classes,
                image_size=image_size,
            )
            for name, one in self.heads.items()
        }
        taps = dict.fromkeys(tap for head in heads.values() for tap in head.taps)
        model = VisionModel(build_backbone(self.backbone, list(taps)), heads)
        model.flip = self._config.evaluation.flip
        model.canvas = image_size if getattr(self.transform, "pad", False) else None
        return model.to(memory_format=torch.channels_last) if self._config.trainer.channels_last else model

    def starting_model(self, labels: Mapping[str, LabelMap]) -> VisionModel:
        """The model as a training begins: that of `checkpoint`, or with heads that name weights."""
        model = self.model(labels)
        if (path := self._config.checkpoint) is not None:
            kinds = {name: head.kind for name, head in self.heads.items()}
            start_from(path, model, labels, kinds, self._config.predict.classes)
        start_heads(self.heads, self.backbone, model, labels)
        return model

    def trained_model(
        self, *, checkpoint: str | None = None, artifact: str | None = None, data: Mapping[str, LabelMap] | None = None
    ) -> tuple[VisionModel, dict[str, LabelMap]]:
        """The model of a file, and its labels by head: a run's own, public weights, or an exported file.

        Args:
            checkpoint, artifact: one of them.
            data: labels of the data, which the model must know as its own; None: there is no data.
        Raises:
            InputError: the file does not fit.
        """
        if artifact is not None:
            model, labels = load_artifact(artifact)
            _check_known(f"artifact={artifact}", labels, data or self.heads)
            _check_same(f"artifact={artifact}", labels, data)
            return model, labels
        path = str(checkpoint)
        if is_foreign(path):
            labels = dict(data or {self.task.value: public_labels(path, self.task, self._config.predict.classes)})
            model = self.model(labels)
            load_heads(path, model, labels, self.transform)
            return model, labels
        header = read_header(path)
        labels = known_labels(f"checkpoint={path}", header.labels, self.heads)
        _check_same(f"checkpoint={path}", labels, data)
        model = self.model(labels)
        load_into(path, model, left_out=[name for name in header.labels if name not in self.heads])
        return model, labels

    def loaders(self, splits: DataSplits | JointSplits, *, workers: int | None = None) -> Loaders:
        """Batches of the splits; `workers` in place of `data.workers`."""
        kinds = {name: head.kind.value for name, head in self.heads.items()}
        here = group.place()
        return Loaders(
            splits,
            self.data,
            self.transform,
            kinds,
            self._config.seed,
            rank=here.rank,
            world_size=here.world_size,
            local_world_size=here.local_world_size,
            workers=workers,
        )

    def evaluators(self, splits: DataSplits | JointSplits, split: str) -> dict[str, Evaluator[Any]]:
        """A measure for every head that has the split.

        Args:
            split: val or test.
        """
        evaluators: dict[str, Evaluator[Any]] = {}
        for name in self.heads:
            of_head = splits.of(name)
            data = getattr(of_head, split)
            if data is None:
                continue
            evaluators[name] = self.evaluator(name, data, of_head.labels)
        return evaluators

    def evaluator(self, name: str, data: Any, labels: LabelMap) -> Evaluator[Any]:
        """A measure for one head on labelled images."""
        head = self.heads[name]
        made = EVALUATORS[head.kind](name, data, labels, self._config.evaluation)
        if self.task is Task.multitask:
            made.prefix = f"{name}/"
        made.main_metric = head.metric or made.main_metric
        return made

    def predictor(self, section: PredictConfig, *, checkpoint: str | None, artifact: str | None) -> Predictor:
        """The model of a file on the device of the run, with all that is needed to use it.

        Raises:
            InputError: the file does not fit, or there is no such device.
        """
        model, labels = self.trained_model(checkpoint=checkpoint, artifact=artifact)
        detectors = [name for name, of in self._kinds(labels).items() if of is Kind.detection]
        classes = [one for name in detectors for one in labels[name].names]
        known = object_side_of(checkpoint, artifact)
        return self.predictor_of(
            model,
            labels,
            section,
            score=best_scores.resolve(section.score, str(checkpoint or artifact), detectors, classes),
            tiling=self.tiling(section, known),
        )

    def _kinds(self, labels: Mapping[str, LabelMap]) -> dict[str, Kind | None]:
        return {name: self.heads[name].kind if name in self.heads else None for name in labels}

    def tiling(self, section: PredictConfig, object_side: float | None) -> Tiling | None:
        """How large images are looked at, as `predict.tiles` says.

        Args:
            object_side: of the object in the middle in pixels, of the images that are known; None: nothing is known.
        """
        if section.tiles is None:
            return None
        side = section.tiles if isinstance(section.tiles, int) else None
        return Tiling(side=side, object_side=object_side, image_size=self.transform.image_size)

    def predictor_of(
        self,
        model: VisionModel,
        labels: Mapping[str, LabelMap],
        section: PredictConfig,
        *,
        score: float | Mapping[str, float],
        tiling: Tiling | None,
    ) -> Predictor:
        """A model on the device of the run, with all that is needed to use it."""
        return Predictor(
            model,
            labels,
            evaluation_transform(self.transform),
            same_size=getattr(self.transform, "same_size", True),
            device=self.device,
            precision=self._config.trainer.precision,
            multi_scale=self._config.evaluation.multi_scale,
            batch_size=section.batch_size,
            score=score,
            overlay=section.overlay,
            top=section.top,
            tiling=tiling,
        )

    def references(self, head: str, images: int) -> list[Reference]:
        """What was published for a head of this model on this data.

        Args:
            images: how many were evaluated.
        """
        known = self.heads.get(head)
        return references(
            None if known is None else Task(known.kind.value), backbone=self.backbone, head=known and known.head,
            data=self.data, transform=self.transform, multi_scale=self._config.evaluation.multi_scale, images=images,
        )  # fmt: skip

    def report(self, folder: Path) -> Report:
        """The page of this run, still empty."""
        config = self._config
        facts = RunFacts(
            task=self.task,
            kinds={name: head.kind.value for name, head in self.heads.items()},
            checkpoint=config.checkpoint,
            predictions=config.predictions,
            seed=config.seed,
            precision=config.trainer.precision,
        )
        return Report(folder, facts, beside=config.evaluation.beside, references=self.references)


def _check_known(what: str, labels: Mapping[str, LabelMap], heads: Iterable[str]) -> None:
    for name in heads:
        if name not in labels:
            raise InputError(f"{what}: has no head {name}; it has {', '.join(labels)}: export it again")


def _check_same(what: str, labels: Mapping[str, LabelMap], data: Mapping[str, LabelMap] | None) -> None:
    for name, of_data in (data or {}).items():
        check_labels(what, labels[name], of_data)
