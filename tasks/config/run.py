"""Everything that a run can be told. Imports nothing heavy: a configuration is checked before torch is loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from backbone.config import MobileNetConfig
from backbone.errors import InputError
from heads.kinds import Kind
from tasks.config.convert import ConvertConfig
from tasks.config.demo import DemoConfig
from tasks.config.evaluation import EvaluationConfig
from tasks.config.export import ExportConfig
from tasks.config.heads import HeadConfig, check_heads, check_kind
from tasks.config.inspect import InspectConfig
from tasks.config.latency import LatencyConfig
from tasks.config.pack import PackConfig
from tasks.config.predict import PredictConfig
from tasks.config.profile import ProfileConfig
from tasks.config.search import BlocksConfig, SearchConfig
from tasks.config.training import AUTO, PRECISIONS, OptimConfig, TrainerConfig

NO_DATA = "folder"
"""Data that changes nothing else in a configuration, for a mode that needs none."""


class Task(Enum):
    """Which kind of head, or several."""

    classification = "classification"
    detection = "detection"
    segmentation = "segmentation"
    multitask = "multitask"


class Mode(Enum):
    """What to do."""

    train = "train"
    evaluate = "evaluate"
    profile = "profile"
    predict = "predict"
    inspect = "inspect"
    export = "export"
    pack = "pack"
    convert = "convert"
    latency = "latency"
    search = "search"
    demo = "demo"


PREDICTING = (Mode.predict, Mode.demo)
"""Modes that look at images of no data set."""


@dataclass(kw_only=True, slots=True)
class Command:
    """The words that a run was started with, and what they came to."""

    overrides: list[str]
    choices: dict[str, str]
    """Which option of every configuration group."""
    written: dict[str, Any]
    """The whole configuration, resolved, as plain data: what is kept in files."""


@dataclass(kw_only=True, slots=True)
class RunConfig:
    """One run.

    `backbone`, `head`, `transform`, `data` and `logger` may be anything with the same interface (see the README).
    """

    task: Task = Task.detection
    mode: Mode = Mode.train
    run_dir: str | None = None
    """Where everything of this run goes; null: runs/<task>/<time>."""
    seed: int = 0
    checkpoint: str | None = None
    """A run's model.safetensors, or public weights with their heads: to evaluate, to predict with, to show in a
    browser, to export, or to start a training from, with other classes too: predictors of classes that are called the
    same are kept."""
    distill: str | None = None
    """A run's model.safetensors that a training learns from beside the labels: every head from the one of its name."""
    artifact: str | None = None
    """A file that mode=export wrote, to evaluate, to predict with or to show in its own runtime."""
    source: str | None = None
    """What mode=predict looks at: an image, folder, pattern, address, list of those (.txt), video, or camera:0."""
    predictions: str | None = None
    """A results file in COCO's format, to score against `data.annotations`."""
    backbone: Any = None
    head: Any = None
    heads: Any = None
    """Heads of task=multitask: a HeadConfig by name. (Hydra adds no keys to a typed dictionary, hence no type.)"""
    only: list[str] | None = None
    """Names of the heads of a checkpoint that are used; null: all."""
    transform: Any = None
    data: Any = None
    optim: OptimConfig = field(default_factory=OptimConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    logger: Any = None
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    profile: ProfileConfig = field(default_factory=ProfileConfig)
    predict: PredictConfig = field(default_factory=PredictConfig)
    demo: DemoConfig = field(default_factory=DemoConfig)
    inspect: InspectConfig = field(default_factory=InspectConfig)
    export: ExportConfig = field(default_factory=ExportConfig)
    pack: PackConfig = field(default_factory=PackConfig)
    convert: ConvertConfig = field(default_factory=ConvertConfig)
    latency: LatencyConfig = field(default_factory=LatencyConfig)
    search: Any = None

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError(f"seed={self.seed}: must not be negative")
        if self.only is not None and self.checkpoint is None:
            raise InputError(f"only={list(self.only)}: chooses among the heads of a checkpoint; give checkpoint=FILE")
        if self.task is not Task.multitask and self.head is not None:
            check_kind(f"task={self.task.value}", Kind(self.task.value), self.head)
        check_heads(self.task.value, self.mode.value, self.heads or {}, self.data)
        self._check_artifact()
        if self.mode is not Mode.train and getattr(self.data, "batch_size", None) == AUTO:
            raise InputError(f"data.batch_size={AUTO}: needs mode=train; give a number of images")
        if self.mode is not Mode.train and self.trainer.precision == AUTO:
            raise InputError(f"trainer.precision={AUTO}: needs mode=train; must be one of {', '.join(PRECISIONS)}")
        if self.trainer.max_epochs is None and self.trainer.max_steps is None:
            raise InputError("trainer.max_epochs=null, trainer.max_steps=null: one of them must be given")
        if self.mode is Mode.evaluate and (self.checkpoint or self.artifact or self.predictions) is None:
            raise InputError(
                "mode=evaluate: give checkpoint=FILE or artifact=FILE, or predictions=FILE with data.annotations=FILE"
            )
        by_blocks = self.mode is Mode.search and isinstance(self.search, BlocksConfig)
        if self.mode is Mode.train or by_blocks:
            self._check_start()
        if self.mode is Mode.profile and self.checkpoint is not None:
            raise InputError(
                f"checkpoint={self.checkpoint}: mode=profile measures a configuration and needs no weights; "
                "leave it out, and give the backbone.*, head.* and transform.image_size of that run"
            )
        if self.mode is Mode.inspect and self.checkpoint is not None:
            raise InputError(
                f"checkpoint={self.checkpoint}: mode=inspect looks at data and needs no weights; leave it out, and give"
                " the task, data.* and transform.* of that run"
            )
        if self.mode is not Mode.train and self.distill is not None:
            raise InputError(f"distill={self.distill}: needs mode=train")
        if self.mode is Mode.search:
            if not isinstance(self.search, SearchConfig):
                raise InputError(f"search={self.search}: must be netadapt or blocks")
            self.search.check_budget()
            if by_blocks and isinstance(self.backbone, MobileNetConfig) and self.backbone.weights is not None:
                raise InputError(
                    f"backbone.weights={self.backbone.weights}: search=blocks starts from the configured backbone"
                    " without weights; leave it out"
                )
            if by_blocks and self.checkpoint is not None:
                raise InputError(
                    f"checkpoint={self.checkpoint}: search=blocks starts from the configured backbone without weights;"
                    " leave it out, or say search=netadapt"
                )
            if (self.checkpoint is None and not by_blocks) or self.run_dir is None:
                start = "" if by_blocks else "checkpoint=FILE, the model.safetensors of a run to start from, and "
                raise InputError(f"mode=search: give {start}run_dir=FOLDER, in which a search that was stopped goes on")
        if self.mode is Mode.convert:
            self.convert.check()
        if self.mode is Mode.pack and self.run_dir is None:
            raise InputError("mode=pack: give run_dir=FOLDER for the shards")
        if self.mode is Mode.predict and ((self.checkpoint or self.artifact) is None or self.source is None):
            raise InputError(
                "mode=predict: give checkpoint=FILE or artifact=FILE, and source=PICTURE, FOLDER, PATTERN or VIDEO"
            )
        if self.mode is Mode.demo and (self.checkpoint or self.artifact) is None:
            raise InputError("mode=demo: give checkpoint=FILE, or artifact=FILE")
        if self.mode is Mode.demo and self.run_dir is not None:
            raise InputError(f"run_dir={self.run_dir}: mode=demo writes nothing; leave it out")
        if self.mode is not Mode.predict and self.source is not None:
            raise InputError(f"source={self.source}: needs mode=predict")
        if self.evaluation.multi_scale and self.task is not Task.segmentation:
            raise InputError(f"evaluation.multi_scale=true: is for task=segmentation, not task={self.task.value}")
        if self.mode is not Mode.evaluate and self.predictions is not None:
            raise InputError(f"predictions={self.predictions}: needs mode=evaluate")

    def _check_start(self) -> None:
        """Check what a training starts from."""
        for name, head in (self.heads or {}).items():
            if self.checkpoint is not None and head.weights is not None:
                raise InputError(
                    f"checkpoint={self.checkpoint}, heads.{name}.weights={head.weights}: give one of them; heads of"
                    " several runs are joined by backbone.weights=FILE and heads.NAME.weights=FILE"
                )
        is_random = isinstance(self.backbone, MobileNetConfig) and (self.backbone.weights or self.checkpoint) is None
        for name, free in (("freeze_at", "null"), ("freeze_bn", "false")):
            if is_random and (value := getattr(self.backbone, name)):
                raise InputError(
                    f"backbone.{name}={value}: a backbone from a random start has nothing worth keeping; give"
                    f" backbone.weights=FILE or checkpoint=FILE, or say backbone.{name}={free}"
                )

    def _check_artifact(self) -> None:
        if self.mode is Mode.export and self.checkpoint is None:
            raise InputError("mode=export: give checkpoint=FILE, the model.safetensors of a run or public weights")
        if self.artifact is None:
            return
        if self.mode is not Mode.evaluate and not self.predicts:
            raise InputError(f"artifact={self.artifact}: needs mode=evaluate, predict or demo")
        if self.checkpoint is not None:
            raise InputError(
                f"artifact={self.artifact}, checkpoint={self.checkpoint}: give one of them; mode=export compares a file"
                " with its checkpoint"
            )

    @property
    def predicts(self) -> bool:
        """Whether images are looked at that are no data set's."""
        return self.mode in PREDICTING

    @property
    def can_share(self) -> bool:
        """Whether several processes can share the work: a model is trained, or evaluated on images."""
        scores = self.predictions is not None or self.artifact is not None
        return self.mode is Mode.train or (self.mode is Mode.evaluate and not scores)

    @property
    def needs_train(self) -> bool:
        """Whether the training split must be there, of the modes that read data."""
        return self.mode in (Mode.train, Mode.search) or (self.mode is Mode.export and self.export.reads_training_data)

    @property
    def max_side(self) -> int | None:
        """Longest side in pixels at which the model sees an image of any size, by all that limits it; None: any.

        An exported file takes one size: larger images are shrunk to it, answers are not.
        """
        limits = [getattr(self.transform, "max_side", None)]
        if self.artifact is not None or self.mode is Mode.export:
            limits.append(self.transform.image_size)
        if self.predicts:
            limits.append(self.predict.max_side)
        return min((limit for limit in limits if limit is not None), default=None)

    @property
    def main_metrics(self) -> tuple[str, ...]:
        """Names of the heads' main metrics, as `metrics.json` has them."""
        prefixed, heads = self.task is Task.multitask, self.named_heads().items()
        return tuple(f"{f'{name}/' * prefixed}{head.metric or head.kind.main_metric}" for name, head in heads)

    def named_heads(self) -> dict[str, HeadConfig]:
        """Every head by its name. A single task is the case of one head, which has the name of the task."""
        if self.task is Task.multitask:
            return dict(self.heads)
        return {self.task.value: HeadConfig(kind=Kind(self.task.value), head=self.head)}
