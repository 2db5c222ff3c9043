"""From a configuration with a checkpoint to a model that answers.

No data set is needed: the checkpoint knows its classes.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, cast

from backbone.errors import InputError
from tasks.build import build_model, build_trainer
from tasks.checkpoints.model_file import is_foreign, known_labels, left_out, load_into, read_header
from tasks.checkpoints.public_weights import load_foreign
from tasks.config.run import Task
from tasks.data.formats.voc.masks import VOC_CLASSES
from tasks.data.labels import LabelMap
from tasks.data.transforms.build import evaluation_transform
from tasks.data.transforms.config import DeepLabTransformConfig
from tasks.predict.predictor import Predictor
from tasks.runs.machine import check_accelerator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.config.run import RunConfig
    from tasks.model import VisionModel

log = logging.getLogger(__name__)


def build_predictor(config: RunConfig, overrides: Sequence[str]) -> Predictor:
    """The model of `config.checkpoint` on the device of `config.trainer.accelerator`.

    Args:
        overrides: the words that the configuration was made from.
    Raises:
        InputError: the checkpoint does not fit, or there is no such device.
    """
    check_accelerator(config.trainer.accelerator)
    path = str(config.checkpoint)
    if config.artifact is None and is_foreign(path):
        labels = {config.task.value: foreign_labels(config)}
        model = load_foreign(config, labels, overrides)
    elif config.predict.classes is not None:
        raise InputError(
            f"predict.classes={list(config.predict.classes)}: {config.artifact or f'checkpoint={path}'} knows the names"
            " of its classes; leave it out"
        )
    elif config.artifact is not None:
        from tasks.deploy.opening import load_artifact

        file, labels = load_artifact(config)
        model = cast("VisionModel", file)
    else:
        model, labels = own_model(config)
    limit = config.predict.max_side
    if isinstance(config.transform, DeepLabTransformConfig) and limit is not None:
        config.transform.max_side = min(limit, config.transform.max_side or limit)
    trainer = build_trainer(config, Path(), logger=False, enable_checkpointing=False)
    return Predictor(
        model,
        labels,
        evaluation_transform(config.transform),
        same_size=getattr(config.transform, "same_size", True),
        device=trainer.strategy.root_device,
        precision=config.trainer.precision,
        multi_scale=config.evaluation.multi_scale,
        batch_size=config.predict.batch_size,
        score=config.predict.score,
        overlay=config.predict.overlay,
        top=config.predict.top,
    )


def own_model(config: RunConfig) -> tuple[VisionModel, dict[str, LabelMap]]:
    """The model of `config.checkpoint`, which is a run's, on the CPU, and its labels by head.

    Raises:
        InputError: it does not fit.
    """
    path = str(config.checkpoint)
    header = read_header(path)
    labels = known_labels(f"checkpoint={path}", header.labels, config.named_heads())
    model = build_model(config, labels)
    load_into(path, model, left_out=left_out(config, header))
    return model, labels


def foreign_labels(config: RunConfig) -> LabelMap:
    """The classes of public weights, which do not name them: as told, or those that they are usually trained on.

    Raises:
        InputError: no public weights with such a head are known.
    """
    if config.predict.classes is not None:
        return LabelMap.numbered(config.predict.classes)
    if config.task is Task.classification:
        from torchvision.models import MobileNet_V2_Weights

        return LabelMap.numbered(MobileNet_V2_Weights.IMAGENET1K_V1.meta["categories"])
    if config.task is Task.segmentation:
        return LabelMap.numbered(VOC_CLASSES)
    if config.task is Task.detection:
        raise InputError(
            f"checkpoint={config.checkpoint}: does not name its classes; say predict.classes=[NAME, ..] in their order"
        )
    raise InputError(
        f"checkpoint={config.checkpoint}: public weights with a head for task={config.task.value} are not known; say"
        " task=classification or task=segmentation, or give the model.safetensors of a run"
    )
