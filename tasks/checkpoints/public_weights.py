"""Checkpoints that are no run's of ours: public weights whose head comes along, evaluated as their authors did."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import torch

from backbone.errors import InputError
from backbone.weights import read
from heads.kinds import Kind
from tasks.checkpoints.public_names import names_of
from tasks.config.run import Task
from tasks.data.formats.voc.masks import VOC_CLASSES
from tasks.data.labels import LabelMap
from tasks.data.transforms.config import ImageNetTransformConfig, Interpolation, TestCrop

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor, nn

    from backbone.weights import Weights
    from tasks.model import VisionModel

log = logging.getLogger(__name__)

CENTRE = {"test_crop": TestCrop.centre_crop, "resize_size": None, "interpolation": Interpolation.bilinear}
CENTRAL = {"test_crop": TestCrop.central_part, "resize_size": None, "interpolation": Interpolation.point_bilinear}
PREPROCESSING: dict[str, dict[str, Any]] = {
    "torchvision": CENTRE,
    "timm": CENTRE | {"interpolation": Interpolation.bicubic},
    "Hugging Face": CENTRE,
    "Keras": CENTRAL,
    "d-li14": CENTRE,
    "TensorFlow": CENTRAL,
}
"""How images were looked at when the figures of a source were taken, at 0.875 of the resized side unless it says
otherwise: torchvision's `references/classification/presets.py`, timm's `default_cfgs`, transformers'
`MobileNetV2ImageProcessor`, TF-slim's `inception_preprocessing` (whose weights Keras has), d-li14's README."""
RESIZED = {"torchvision:IMAGENET1K_V2": 232}
"""Shorter sides that differ: torchvision's `MobileNet_V2_Weights`, at 224 pixels."""
NO_CLASS = "N/A"
"""torchvision's name for ids of COCO that no class has."""
COCO_SLOTS = 91
OTHER_CLASSES = "class_slots"
"""Option of a head that keeps classes which the data lacks."""


def as_trained(source: str, task: str, *, learns: bool = False) -> dict[str, dict[str, Any]]:
    """Options that public weights were trained and evaluated with by their authors, by section of a run.

    Args:
        task: the run's.
        learns: whether the run is a training, whose classes are those of its data alone.
    Raises:
        InputError: the weights cannot be read, or are those of a model for another task.
    """
    weights = read(source)
    if weights.unknown:
        raise InputError(
            f"checkpoint={source}: has {weights.unknown}, which no head here has; use it as backbone.weights and train"
            " a head"
        )
    if weights.settings:
        theirs = weights.settings["task"]["name"]
        if theirs != task:
            raise InputError(f"checkpoint={source}: holds a model for task={theirs}, not task={task}; say that")
        left_out = {OTHER_CLASSES} if learns else set()
        return {
            section: {name: value for name, value in options.items() if name not in left_out}
            for section, options in weights.settings.items()
            if section != "task"
        }
    known = PREPROCESSING.get(weights.origin)
    if known is None or task != "classification":
        return {}
    return {"transform": known | {"resize_size": RESIZED.get(source)}}


def load_heads(source: str, model: VisionModel, labels: Mapping[str, LabelMap], transform: Any) -> None:
    """Load the heads of public weights into a model whose backbone has them.

    Args:
        labels: by the head's name.
        transform: configuration of how images are looked at, for the log.
    Raises:
        InputError: the weights hold no such head, or one with other classes.
    """
    weights = read(source)
    if isinstance(transform, ImageNetTransformConfig):
        known = PREPROCESSING.get(weights.origin)
        as_theirs = known is not None and all(getattr(transform, name) == known[name] for name in known)
        log.info("images are looked at%s: %s", f" as {weights.origin}'s authors did" * as_theirs, _told(transform))
    for name, head in model.heads.items():
        _check_classes(source, weights, labels[name])
        theirs = convert_head(source, name, head)
        load_head(source, name, head, head.select_classes(theirs, labels[name].ids), labels[name])  # type: ignore[operator]


def convert_head(source: str, name: str, head: nn.Module) -> dict[str, Tensor]:
    """Tensors of public weights for a head, under its names.

    Args:
        name: of the head.
    Raises:
        InputError: they have none, or not all.
    """
    weights = read(source)
    if weights.assumed:
        log.warning("checkpoint=%s does not tell %s", source, weights.assumed)
    theirs: dict[str, Tensor] = head.convert_state_dict(weights.tensors)  # type: ignore[operator]
    missing = [key for key in _tensors_of(head) if key not in theirs]
    if missing:
        raise InputError(
            f"checkpoint={source}: holds no weights for head {name} ({missing[0]} and {len(missing) - 1} more); "
            "use it as backbone.weights and train the head"
        )
    return theirs


def load_head(source: str, name: str, head: nn.Module, theirs: Mapping[str, Tensor], labels: LabelMap) -> None:
    """Load a head from tensors under its names.

    Args:
        name, labels: of the head, for messages.
    Raises:
        InputError: one is of another shape.
    """
    ours = _tensors_of(head)
    wrong = [key for key in ours if ours[key].shape != theirs[key].shape]
    if wrong:
        raise InputError(
            f"checkpoint={source}: its head does not fit: {wrong[0]} is {tuple(theirs[wrong[0]].shape)}, wanted "
            f"{tuple(ours[wrong[0]].shape)} for the {labels.num_classes} classes of the data; use data with"
            " its classes, or the weights as backbone.weights"
        )
    log.info("head %s: %d tensors loaded", name, len(ours))
    with torch.no_grad():
        for key, value in ours.items():
            value.copy_(theirs[key])


def _tensors_of(head: nn.Module) -> dict[str, Tensor]:
    """Tensors that weights must have; the counters of batches are none of them."""
    return {key: value for key, value in head.state_dict().items() if not key.endswith("num_batches_tracked")}


def public_labels(source: str, task: Task, classes: Sequence[str] | None) -> LabelMap:
    """Classes of public weights, which do not name them: as told, or those that they are usually trained on.

    Args:
        classes: as told.
    Raises:
        InputError: no public weights with such a head are known.
    """
    if classes is not None:
        return LabelMap.numbered(classes)
    if task is Task.classification:
        from torchvision.models import MobileNet_V2_Weights

        return LabelMap.numbered(MobileNet_V2_Weights.IMAGENET1K_V1.meta["categories"])
    if task is Task.segmentation:
        return LabelMap.numbered(VOC_CLASSES)
    if task is Task.detection:
        if (named := _named(read(source))) is not None:
            return named
        raise InputError(
            f"checkpoint={source}: does not name its classes; say predict.classes=[NAME, ..] in their order"
        )
    raise InputError(
        f"checkpoint={source}: public weights with a head for task={task.value} are not known; say"
        " task=classification or task=segmentation, or give the model.safetensors of a run"
    )


def _named(weights: Weights) -> LabelMap | None:
    """Classes of a detector of COCO, without the ids that no class has; None: not known."""
    if weights.origin != "torchvision" or weights.settings.get("head", {}).get(OTHER_CLASSES) != COCO_SLOTS:
        return None
    names = names_of(weights.source, Kind.detection, COCO_SLOTS - 1) or ()
    known = {index: name for index, name in enumerate(names, 1) if name != NO_CLASS}
    return LabelMap(list(known.values()), list(known))


def _check_classes(source: str, weights: Weights, labels: LabelMap) -> None:
    """That the data's classes are those that the weights have under the same ids.

    Raises:
        InputError: one is not.
    """
    if (named := _named(weights)) is None:
        return
    for index, name in zip(labels.ids, labels.names, strict=True):
        theirs = named.names[named.to_index(index)] if index in named else "none"
        if theirs != name:
            raise InputError(
                f"checkpoint={source}: class {index} of the data is {name}, of the weights {theirs}; use data with"
                " COCO's names and ids, all or some by data.classes=[..], or the weights as backbone.weights"
            )


def _told(transform: ImageNetTransformConfig) -> str:
    resize = f", resize_size {transform.resize_size}" if transform.resize_size else ""
    return f"{transform.test_crop.value}{resize}, {transform.interpolation.value}"
