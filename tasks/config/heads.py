"""What a head is told besides what it is made of, where there are several. Imports nothing heavy."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import Enum
from typing import TYPE_CHECKING, Any

from backbone.errors import InputError
from heads.deeplabv3.config import DeepLabV3Config
from heads.linear.config import LinearConfig
from heads.ssdlite.config import SSDLiteConfig
from tasks.data.config import MixedConfig

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tasks.config.run import RunConfig


class Kind(Enum):
    """What a head learns: a class for the image, boxes, or a class for every pixel."""

    classification = "classification"
    detection = "detection"
    segmentation = "segmentation"


@dataclass(kw_only=True, slots=True)
class HeadConfig:
    """One of several heads. With `head` anything that has the interface of a head's configuration."""

    kind: Kind = Kind.classification
    head: Any = None
    loss_weight: float = 1.0
    factor: float = 1.0
    """Learning rate of this head over `optim.learning_rate`; 0 freezes it, its batch statistics too."""
    data: str | None = None
    """Which of `data.parts` it learns from; null: the one of the head's name. With one data set: null."""
    figure: str | None = None
    """Of its figures, the one that counts when the best weights are chosen; null: top1, map or miou."""
    weights: str | None = None
    """A run's model.safetensors to start this head from; its backbone must be built alike."""


@dataclass(kw_only=True, slots=True)
class LinearHeadConfig(HeadConfig):
    """A classifier."""

    head: LinearConfig = field(default_factory=LinearConfig)


@dataclass(kw_only=True, slots=True)
class SSDLiteHeadConfig(HeadConfig):
    """A detector."""

    kind: Kind = Kind.detection
    head: SSDLiteConfig = field(default_factory=SSDLiteConfig)


@dataclass(kw_only=True, slots=True)
class DeepLabV3HeadConfig(HeadConfig):
    """A segmenter."""

    kind: Kind = Kind.segmentation
    loss_weight: float = 4.0
    """Its loss, a mean over pixels most of which are easy, is the smallest; with 1 it learns less than alone."""
    head: DeepLabV3Config = field(default_factory=DeepLabV3Config)


MANY = "multitask"


READS_DATA = ("train", "evaluate")


def check_heads(config: RunConfig) -> None:
    """The names of heads, their number, and that each has data.

    Raises:
        InputError: one of them does not fit.
    """
    many = config.task.value == MANY
    if config.only is not None and config.checkpoint is None:
        raise InputError(f"only={list(config.only)}: chooses among the heads of a checkpoint; give checkpoint=FILE")
    if not many:
        _check_single(config)
        return
    if config.mode.value == "inspect":
        raise InputError(
            f"mode=inspect task={MANY}: looks at one data set at a time; name the task of one head and its"
            " data, such as task=detection data=coco"
        )
    heads: Mapping[Any, Any] = config.heads or {}
    for name, head in heads.items():
        _check_name(name)
        if not isinstance(head, HeadConfig):
            raise InputError(f"heads.{name}: is no head; add one by +heads@heads.{name}=ssdlite, or linear, deeplabv3")
        if not 0 < head.loss_weight < math.inf:
            raise InputError(f"heads.{name}.loss_weight={head.loss_weight}: must be positive; factor=0 freezes a head")
        if not 0 <= head.factor < math.inf:
            raise InputError(f"heads.{name}.factor={head.factor}: must not be negative; 0 freezes the head")
        if head.head is None:
            raise InputError(f"heads.{name}.head: is not set; say +head@heads.{name}.head=ssdlite or another head")
    if not heads:
        raise InputError(f"heads: there are none; add one by +heads@heads.NAME=ssdlite, or leave task={MANY} out")
    if config.mode.value == "train" and not any(head.factor for head in heads.values()):
        raise InputError("heads.*.factor=0: of every head, so none learns; give one a positive factor")
    if config.mode.value in READS_DATA:
        check_parts(heads, config.data)


def _check_single(config: RunConfig) -> None:
    if config.heads:
        raise InputError(f"heads={{{', '.join(config.heads)}}}: needs task={MANY}; task={config.task.value} has `head`")
    if isinstance(config.data, MixedConfig):
        raise InputError(f"data=mixed: needs task={MANY}; task={config.task.value} learns from one data set")


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not name.isidentifier() or name == "backbone":
        raise InputError(
            f"heads.{name}: a head's name must be letters, digits and underscores, no digit first, and not `backbone`"
        )


def check_parts(heads: Mapping[str, HeadConfig], data: Any) -> None:
    """That every head has a part of the data, and every part a head.

    Raises:
        InputError: one has not.
    """
    if not isinstance(data, MixedConfig):
        for name, head in heads.items():
            if head.data is not None:
                raise InputError(f"heads.{name}.data={head.data}: the data is one data set; several need data=mixed")
        return
    parts = list(data.parts or {})
    for name, head in heads.items():
        if part_of(name, head) not in parts:
            given = f"heads.{name}.data={head.data}" if head.data else f"heads.{name}"
            wanted = part_of(name, head)
            raise InputError(
                f"{given}: has no data: data.parts has no {wanted}{nearest(wanted, parts)} There are"
                f" {', '.join(parts) or 'none'}; add it by +data@data.parts.{wanted}=coco, or leave the head out by"
                f" ~heads.{name}"
            )
    used = {part_of(name, head) for name, head in heads.items()}
    for part in parts:
        if part not in used:
            raise InputError(
                f"data.parts.{part}: has labels for no head; the heads are {', '.join(heads)}: say"
                f" heads.NAME.data={part}, or leave it out by ~data.parts.{part}"
            )


def part_of(name: str, head: HeadConfig) -> str:
    """Of `data.parts`, the one that a head learns from."""
    return head.data or name


def nearest(wrong: str, names: Iterable[str]) -> str:
    """The end of a sentence that offers the most similar name, if there is one."""
    near = get_close_matches(wrong, list(names), n=1)
    return f"; did you mean {near[0]}?" if near else "."
