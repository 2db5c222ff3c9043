"""Exported files and the models that they stand for."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, cast

from tasks.checkpoints.model_file import OBJECT_SIDE, is_foreign, known_labels, read_header
from tasks.deploy.artifact import open_artifact
from tasks.deploy.header import read_artifact

if TYPE_CHECKING:
    from tasks.data.labels import LabelMap
    from tasks.model import VisionModel

log = logging.getLogger(__name__)

MAX_SIDE = 10**6
"""Pixels of an object, beyond what any has."""


def load_artifact(path: str) -> tuple[VisionModel, dict[str, LabelMap]]:
    """An exported file in its runtime, behind the interface of a model, and its labels by head.

    Raises:
        InputError: the file or its runtime does not fit.
    """
    header = read_artifact(path)
    model = open_artifact(path, header)
    log.info("%s: %s, %s, %d x %d pixels", path, header.runtime, header.precision, header.size, header.size)
    return cast("VisionModel", model), known_labels(f"artifact={path}", header.labels, header.labels)


def object_side_of(checkpoint: str | None, artifact: str | None) -> float | None:
    """Side of the objects that a model was trained on, of the one in the middle, in pixels; None: it does not say.

    Args:
        checkpoint, artifact: its file; one of them.
    """
    if artifact is not None:
        trained = read_artifact(artifact).provenance.get("trained")
    else:
        trained = None if is_foreign(str(checkpoint)) else read_header(str(checkpoint)).provenance
    side = trained.get(OBJECT_SIDE) if isinstance(trained, dict) else None
    return float(side) if isinstance(side, int | float) and 0 < side < MAX_SIDE else None


def padding_of(model: VisionModel) -> list[int]:
    """The grey levels that the backbone takes for zero, as near as 8 bits can say."""
    return [round(255 * float(mean)) for mean in model.backbone.input_mean]  # type: ignore[union-attr]
