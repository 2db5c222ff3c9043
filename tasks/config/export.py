"""What mode=export can be told. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from backbone.errors import InputError


class Format(Enum):
    """Which runtime a file is for."""

    onnx = "onnx"
    executorch = "executorch"
    litert = "litert"
    web = "web"
    """ONNX, and a page around it that runs it in a browser."""

    @property
    def runtime(self) -> str:
        """What runs the file, as its header says it, and the extra that installs what writes it."""
        return "onnx" if self is Format.web else self.value


class Precision(Enum):
    """What a file computes in."""

    fp32 = "fp32"
    fp16 = "fp16"
    int8 = "int8"


class Batch(Enum):
    """How many images the input takes."""

    single = "single"
    dynamic = "dynamic"
    """Any number."""


class End(Enum):
    """Where the graph of a detector ends."""

    boxes = "boxes"
    """At the scores and the place of every default box."""
    detections = "detections"
    """Behind non-maximum suppression."""


@dataclass(kw_only=True, slots=True)
class ExportConfig:
    """What mode=export writes. The input's side is `transform.image_size`."""

    format: Format = Format.onnx
    precision: Precision = Precision.fp32
    calibration_images: int = 100
    """int8 only: images from which the ranges of the activations are taken."""
    calibration_source: str | None = None
    """int8 only: an image, folder, pattern or list to take them from, as `source`; null: the training data."""
    licence: str | None = None
    """Licence of the weights, to be said in the file; null: what the weights' own file says."""
    mask: bool = False
    """Segmentation ends at the label map of the input's size instead of the coarse logits."""
    batch: Batch = Batch.single
    """export=onnx only."""
    end: End = End.boxes
    """export=onnx only. detections: `boxes` (N, D, 4), `scores` (N, D), `labels` (N, D), best first; what follows the
    last detection of an image has score 0."""
    compare: bool = True
    """Evaluate and time what was written beside the model in PyTorch."""
    compared_images: int = 8
    """Over which the largest difference of the outputs is taken."""
    passes: int = 30
    """Timed for every latency; the median is what counts. 0: nothing is timed, and memory is not measured."""
    layers: bool = False
    """int8 of ONNX and LiteRT only: measure for every layer how much of what it gives out is lost in 8 bits."""
    runtime: str | None = None
    """export=web only: a folder with ONNX Runtime Web's files; null: npm fetches them."""

    def __post_init__(self) -> None:
        for name, least in (("calibration_images", 1), ("compared_images", 1), ("passes", 0)):
            if getattr(self, name) < least:
                raise InputError(f"export.{name}={getattr(self, name)}: must be at least {least}")
        if self.layers and self.precision is not Precision.int8:
            raise InputError(f"export.layers=true: needs export.precision=int8, not {self.precision.value}")
        if self.layers and self.format is Format.executorch:
            raise InputError("export.layers=true: needs export=onnx, web or litert: no value can be read inside a .pte")
        if self.runtime is not None and self.format is not Format.web:
            raise InputError(f"export.runtime={self.runtime}: needs export=web, not {self.format.value}")
        for name, is_plain in (("batch", self.batch is Batch.single), ("end", self.end is End.boxes)):
            if not is_plain and self.format is not Format.onnx:
                raise InputError(
                    f"export.{name}={getattr(self, name).value}: needs export=onnx, not {self.format.value}"
                )
        if self.calibration_source is not None and self.precision is not Precision.int8:
            raise InputError(
                f"export.calibration_source={self.calibration_source}: needs export.precision=int8, not "
                f"{self.precision.value}"
            )

    @property
    def reads_training_data(self) -> bool:
        """Whether the training split is needed."""
        return self.precision is Precision.int8 and self.calibration_source is None
