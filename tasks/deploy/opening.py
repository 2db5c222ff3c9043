"""mode=evaluate and mode=predict with an exported file."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tasks.checkpoints.model_file import known_labels
from tasks.data.transforms.config import DeepLabTransformConfig
from tasks.deploy.artifact import FixedSize, open_artifact
from tasks.deploy.header import read_artifact

if TYPE_CHECKING:
    from tasks.data.labels import LabelMap
    from tasks.model import VisionModel

if TYPE_CHECKING:
    from tasks.config.run import RunConfig

log = logging.getLogger(__name__)


def load_artifact(config: RunConfig) -> tuple[FixedSize, dict[str, LabelMap]]:
    """The file of `config.artifact` in its runtime, and its labels by head. `config` is made to fit: on the CPU, and
    with no image larger than the input.

    Raises:
        InputError: the file or its runtime does not fit.
    """
    path = str(config.artifact)
    header = read_artifact(path)
    fix_size(config, header.size)
    model = open_artifact(path, header)
    log.info("%s: %s, %s, %d x %d pixels", path, header.runtime, header.precision, header.size, header.size)
    return model, known_labels(f"artifact={path}", header.labels, header.labels)


def fix_size(config: RunConfig, size: int) -> None:
    """Let no image be larger than the input. Those that are looked at whole are shrunk to it, answers are not."""
    if isinstance(config.transform, DeepLabTransformConfig):
        config.transform.max_side = min(size, config.transform.max_side or size)


def padding_of(model: VisionModel) -> list[int]:
    """The grey levels that the backbone takes for zero, as near as 8 bits can say."""
    return [round(255 * float(mean)) for mean in model.backbone.input_mean]  # type: ignore[union-attr]
