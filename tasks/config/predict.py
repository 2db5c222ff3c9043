"""How mode=predict looks at images. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from backbone.errors import InputError
from tasks.config.profile import MIN_PROFILED_SIZE
from tasks.config.training import AUTO

SCORE = 0.3
"""Least score of classes that `predict.score` does not name."""
BEST = "best"


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
    score: Any = SCORE
    """Detections below it are not drawn; detections.json has all. By class: {person: 0.5}, of others 0.3. best: what
    the evaluation beside the checkpoint found best for each class; or the path of a best_scores.json."""
    tiles: int | str | None = AUTO
    """Side in pixels of the tiles that larger images are looked at in, besides as a whole; of mode=evaluate too. auto:
    where the objects that a detector knows would be seen at less than 10 pixels; null: never."""
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
        if not 0 <= self.overlay <= 1:
            raise InputError(f"predict.overlay={self.overlay}: must be in [0, 1]")
        self._check_score()
        if self.tiles not in (None, AUTO) and (type(self.tiles) is not int or self.tiles < MIN_PROFILED_SIZE):
            raise InputError(
                f"predict.tiles={self.tiles}: must be at least {MIN_PROFILED_SIZE} pixels, {AUTO}, or null for none"
            )
        if self.max_side is not None and self.max_side < MIN_PROFILED_SIZE:
            raise InputError(f"predict.max_side={self.max_side}: must be at least {MIN_PROFILED_SIZE} pixels, or null")

    def _check_score(self) -> None:
        by_class = self.score if isinstance(self.score, dict) else {"": self.score}
        for name, score in by_class.items():
            if isinstance(score, str) and not name and (score == BEST or score.endswith(".json")):
                continue
            if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
                raise InputError(
                    f"predict.score{f'.{name}' * bool(name)}={score}: must be in [0, 1]"
                    + (f", a table as {{person: 0.5}}, or {BEST}" if not name else "")
                )
