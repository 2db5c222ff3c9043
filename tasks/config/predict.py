"""How mode=predict looks at images. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from backbone.errors import InputError
from tasks.config.profile import MIN_PROFILED_SIZE


class VideoOutput(Enum):
    """As what a video with answers drawn on it is written."""

    video = "video"
    frames = "frames"


@dataclass(kw_only=True, slots=True)
class PredictConfig:
    """How mode=predict looks at images, and what it writes."""

    batch_size: int = 16
    """Images that the model sees at once, where it sees them all in one size."""
    workers: int | None = None
    """Threads that read, draw and write; null: one for each core, up to 8."""
    score: float = 0.3
    """Detections below it are not drawn; detections.json has all."""
    overlay: float = 0.6
    """Opacity of masks over an image."""
    top: int = 5
    """Classes that are named for an image, the most probable first."""
    pictures: bool = True
    """Draw the answers; false: only the files for machines."""
    video: VideoOutput = VideoOutput.video
    max_frames: int | None = None
    """Frames of a video or a camera; null: all, of a camera until Ctrl-C."""
    max_side: int | None = 2048
    """A model that takes images at their own size sees larger ones shrunk to this longer side; null: as they are."""
    classes: list[str] | None = None
    """Names of public weights' classes, to predict or to start a training from them; null: those of ImageNet, VOC or
    COCO where they are as many."""

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
