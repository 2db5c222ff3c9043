"""mode=evaluate and mode=predict with an exported file."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from backbone.errors import InputError
from tasks.data.labels import LabelMap
from tasks.data.transforms.config import DeepLabTransformConfig
from tasks.deploy.artifact import FixedSize, open_artifact
from tasks.deploy.header import read_artifact

if TYPE_CHECKING:
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
    check_size(f"artifact={path}", header.size, config)
    if config.evaluation.multi_scale:
        raise InputError(f"artifact={path}: takes images of one size; leave evaluation.multi_scale out")
    fix_size(config, header.size)
    config.trainer.accelerator = "cpu"
    config.trainer.precision = "32-true"
    model = open_artifact(path, header)
    log.info("%s: %s, %s, %d x %d pixels", path, header.runtime, header.precision, header.size, header.size)
    return model, {name: LabelMap.from_plain(plain) for name, plain in header.labels.items()}


def fix_size(config: RunConfig, size: int) -> None:
    """Let no image be larger than the input. Those that are looked at whole are shrunk to it, answers are not."""
    if isinstance(config.transform, DeepLabTransformConfig):
        config.transform.max_side = min(size, config.transform.max_side or size)


def padding_of(model: VisionModel) -> list[int]:
    """The grey levels that the backbone takes for zero, as near as 8 bits can say."""
    return [round(255 * float(mean)) for mean in model.backbone.input_mean]  # type: ignore[union-attr]


def check_size(what: str, size: int, config: RunConfig) -> None:
    """That a configuration gives images of the size that a file takes.

    Raises:
        InputError: it does not.
    """
    if config.transform.image_size != size:
        raise InputError(
            f"{what}: takes images of {size} x {size} pixels, and the command says"
            f" transform.image_size={config.transform.image_size}; leave it out, or export the model for that size"
        )
