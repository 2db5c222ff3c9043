"""Everything that a run can be told. Imports nothing heavy: a configuration is checked before torch is loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from backbone.config import MIN_WIDTH, MobileNetV2Config
from backbone.errors import InputError
from tasks.deploy.config import ExportConfig
from tasks.distributed.config import Strategy
from tasks.inspect.config import InspectConfig
from tasks.multitask.checks import check_heads
from tasks.multitask.config import Balance, HeadConfig, Kind
from tasks.pack.config import PackConfig
from tasks.watchdog.config import OnNonfinite


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


class Backend(Enum):
    """Who computes COCO's figures. Both give the same; pycocotools is the number of record."""

    faster_coco_eval = "faster_coco_eval"
    pycocotools = "pycocotools"


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
    backbone_factor: float = 1.0
    """Learning rate of the backbone over that of the heads; below 1 for pretrained weights."""
    heads_first: int = 0
    """Steps in the beginning in which the backbone stays as it is, its batch statistics too, and only heads learn."""
    balance: Balance = Balance.fixed
    """Of the losses of several heads."""
    ema_decay: float | None = 0.998
    """Of the moving average of the weights, which is what gets evaluated and saved; null: none. Ramps up from 0.1."""

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
        for name in ("weight_decay", "warmup_steps", "backbone_factor", "heads_first"):
            if not getattr(self, name) >= 0:
                raise InputError(f"optim.{name}={getattr(self, name)}: must not be negative")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise InputError(f"optim.ema_decay={self.ema_decay}: must be in (0, 1), or null for none")


@dataclass(kw_only=True, slots=True)
class TrainerConfig:
    """How long and on what to train."""

    max_epochs: int | None = None
    """Passes over the training set."""
    max_steps: int | None = None
    """Optimiser steps; goes before `max_epochs`."""
    accelerator: str = "auto"
    """auto, cpu, gpu, mps: as Lightning calls them."""
    devices: int | None = None
    """Processes on each machine, one for each GPU; on the CPU they share its cores. null: as many as torchrun or srun
    started, else one."""
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
        counts = ("max_epochs", "max_steps", "validate_every", "checkpoint_every", "nonfinite_limit")
        for name in (*counts, "devices", "num_nodes", "timeout", "accumulate"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"trainer.{name}={value}: must be at least 1")
        if self.precision not in PRECISIONS:
            raise InputError(f"trainer.precision={self.precision}: must be one of {', '.join(PRECISIONS)}")
        if self.gradient_clip is not None and not self.gradient_clip > 0:
            raise InputError(f"trainer.gradient_clip={self.gradient_clip}: must be positive, or null for no limit")


@dataclass(kw_only=True, slots=True)
class LoggerConfig:
    """Where losses and figures go while training, all in the run folder."""

    csv: bool = True
    tensorboard: bool = True
    every_steps: int = 10

    def __post_init__(self) -> None:
        if self.every_steps < 1:
            raise InputError(f"logger.every_steps={self.every_steps}: must be at least 1")


@dataclass(kw_only=True, slots=True)
class EvaluationConfig:
    """How figures are computed and shown."""

    backend: Backend = Backend.faster_coco_eval
    drawn_images: int = 12
    """On the contact sheet."""
    drawn_score: float = 0.3
    """Detections below it are not drawn."""
    multi_scale: bool = False
    """Segmentation only: average the probabilities over scales of 0.5 to 1.75, each mirrored too."""
    beside: list[str] = field(default_factory=list)
    """Folders of other runs, whose main figures the report puts beside those of heads of the same kind."""

    def __post_init__(self) -> None:
        if self.drawn_images < 0:
            raise InputError(f"evaluation.drawn_images={self.drawn_images}: must not be negative")
        if not 0 <= self.drawn_score <= 1:
            raise InputError(f"evaluation.drawn_score={self.drawn_score}: must be in [0, 1]")


PAPER_TABLES = (3, 4, 5, 6, 7)
MIN_PROFILED_SIZE = 32


@dataclass(kw_only=True, slots=True)
class ProfileConfig:
    """What mode=profile measures. It reads no data: of the data's configuration, the image size alone."""

    num_classes: int = 80
    """Of the head."""
    table: int | None = None
    """Print this table of the MobileNetV2 paper beside what is measured here, instead of the configured model."""
    passes: int = 15
    """Timed for every latency; the median is what counts."""
    sweep: bool = False
    """Measure the backbone as a classifier at all `widths` and `sizes` too, and plot that."""
    widths: list[float] = field(default_factory=lambda: [0.35, 0.5, 0.75, 1.0, 1.3, 1.4])
    sizes: list[int] = field(default_factory=lambda: [96, 128, 160, 192, 224])
    """Sides of the image in pixels."""

    def __post_init__(self) -> None:
        for name in ("num_classes", "passes"):
            if getattr(self, name) < 1:
                raise InputError(f"profile.{name}={getattr(self, name)}: must be at least 1")
        if self.table is not None and self.table not in PAPER_TABLES:
            allowed = ", ".join(str(number) for number in PAPER_TABLES)
            raise InputError(f"profile.table={self.table}: must be one of {allowed}, the MobileNetV2 paper's, or null")
        if not self.widths or not all(width >= MIN_WIDTH for width in self.widths):
            raise InputError(f"profile.widths={list(self.widths)}: must be one or more, each at least {MIN_WIDTH}")
        if not self.sizes or not all(size >= MIN_PROFILED_SIZE for size in self.sizes):
            raise InputError(
                f"profile.sizes={list(self.sizes)}: must be one or more, each at least {MIN_PROFILED_SIZE}"
            )


class VideoOutput(Enum):
    """As what a video with answers drawn on it is written."""

    video = "video"
    frames = "frames"


@dataclass(kw_only=True, slots=True)
class PredictConfig:
    """How mode=predict looks at pictures, and what it writes."""

    batch_size: int = 16
    """Pictures that the model sees at once, where it sees them all in one size."""
    workers: int | None = None
    """Threads that read, draw and write; null: one for each core, up to 8."""
    score: float = 0.3
    """Detections below it are not drawn; detections.json has all."""
    overlay: float = 0.6
    """Opacity of masks over a picture."""
    top: int = 5
    """Classes that are named for a picture, the most probable first."""
    pictures: bool = True
    """Draw the answers; false: only the files for machines."""
    video: VideoOutput = VideoOutput.video
    max_frames: int | None = None
    """Of a video or a camera; null: all, of a camera until Ctrl-C."""
    max_side: int | None = 2048
    """A model that takes pictures at their own size sees larger ones shrunk to this longer side; null: as they are."""
    classes: list[str] | None = None
    """Names of public weights' classes; null: ImageNet's 1000, or VOC's 21 for segmentation."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "workers", "top", "max_frames"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"predict.{name}={value}: must be at least 1")
        for name in ("score", "overlay"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"predict.{name}={getattr(self, name)}: must be in [0, 1]")
        if self.max_side is not None and self.max_side < MIN_PROFILED_SIZE:
            raise InputError(f"predict.max_side={self.max_side}: must be at least {MIN_PROFILED_SIZE} pixels, or null")


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
    """A run's model.safetensors, to evaluate, to predict with or to export."""
    artifact: str | None = None
    """A file that mode=export wrote, to evaluate or to predict with in its own runtime."""
    source: str | None = None
    """What mode=predict looks at: a picture, folder, pattern, address, list of those (.txt), video, or camera:0."""
    predictions: str | None = None
    """A results file in COCO's format, to score against `data.annotations`."""
    backbone: Any = None
    head: Any = None
    heads: Any = None
    """Of task=multitask: a HeadConfig by name. (Hydra adds no keys to a typed dictionary, hence no type.)"""
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
    inspect: InspectConfig = field(default_factory=InspectConfig)
    export: ExportConfig = field(default_factory=ExportConfig)
    pack: PackConfig = field(default_factory=PackConfig)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError(f"seed={self.seed}: must not be negative")
        check_heads(self)
        self._check_artifact()
        if self.trainer.max_epochs is None and self.trainer.max_steps is None:
            raise InputError("trainer.max_epochs=null, trainer.max_steps=null: one of them must be given")
        if self.mode is Mode.evaluate and (self.checkpoint or self.artifact or self.predictions) is None:
            raise InputError(
                "mode=evaluate: give checkpoint=FILE or artifact=FILE, or predictions=FILE with data.annotations=FILE"
            )
        if self.mode is Mode.train and self.checkpoint is not None:
            raise InputError(
                f"checkpoint={self.checkpoint}: training does not start from a checkpoint; "
                "start the backbone from it with backbone.weights=FILE, or evaluate it with mode=evaluate"
            )
        if self.mode is Mode.train and isinstance(self.backbone, MobileNetV2Config) and self.backbone.weights is None:
            for name, free in (("freeze_at", "null"), ("freeze_bn", "false")):
                if value := getattr(self.backbone, name):
                    raise InputError(
                        f"backbone.{name}={value}: a backbone from a random start has nothing worth keeping; give"
                        f" backbone.weights=FILE, or say backbone.{name}={free}"
                    )
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
        if self.mode is Mode.pack and self.run_dir is None:
            raise InputError("mode=pack: give run_dir=FOLDER for the shards")
        if self.mode is Mode.predict and ((self.checkpoint or self.artifact) is None or self.source is None):
            raise InputError(
                "mode=predict: give checkpoint=FILE or artifact=FILE, and source=PICTURE, FOLDER, PATTERN or VIDEO"
            )
        if self.mode is not Mode.predict and self.source is not None:
            raise InputError(f"source={self.source}: needs mode=predict")
        if self.evaluation.multi_scale and self.task is not Task.segmentation:
            raise InputError(f"evaluation.multi_scale=true: is for task=segmentation, not task={self.task.value}")
        if self.mode is not Mode.evaluate and self.predictions is not None:
            raise InputError(f"predictions={self.predictions}: needs mode=evaluate")

    def _check_artifact(self) -> None:
        if self.mode is Mode.export and self.checkpoint is None:
            raise InputError("mode=export: give checkpoint=FILE, the model.safetensors of a run or public weights")
        if self.artifact is None:
            return
        if self.mode not in (Mode.evaluate, Mode.predict):
            raise InputError(f"artifact={self.artifact}: needs mode=evaluate or mode=predict")
        if self.checkpoint is not None:
            raise InputError(
                f"artifact={self.artifact}, checkpoint={self.checkpoint}: give one of them; mode=export compares a file"
                " with its checkpoint"
            )

    def named_heads(self) -> dict[str, HeadConfig]:
        """Every head by its name. A single task is the case of one head, which has the name of the task."""
        if self.task is Task.multitask:
            return dict(self.heads)
        return {self.task.value: HeadConfig(kind=Kind(self.task.value), head=self.head)}
