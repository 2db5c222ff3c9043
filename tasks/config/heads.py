"""What a head is told besides what it is made of, where there are several. Imports nothing heavy."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from backbone.errors import InputError
from heads.deeplabv3.config import DeepLabV3Config
from heads.kinds import Kind
from heads.linear.config import LinearConfig
from heads.lraspp.config import LRASPPConfig
from heads.ssdlite.config import SSDLiteConfig

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(kw_only=True, slots=True)
class HeadConfig:
    """One of several heads. With `head` anything that has the interface of a head's configuration."""

    kind: Kind = Kind.classification
    head: Any = None
    loss_weight: float = 1.0
    lr_factor: float = 1.0
    """Learning rate of this head over `optim.learning_rate`; 0 freezes it, its batch statistics too."""
    data: str | None = None
    """Which of `data.parts` it learns from; null: the one of the head's name. With one data set: null."""
    metric: str | None = None
    """Metric that counts when the best weights are chosen; null: top1, map or miou."""
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


@dataclass(kw_only=True, slots=True)
class LRASPPHeadConfig(HeadConfig):
    """A lighter segmenter."""

    kind: Kind = Kind.segmentation
    loss_weight: float = 4.0
    """See `DeepLabV3HeadConfig`."""
    head: LRASPPConfig = field(default_factory=LRASPPConfig)


MANY = "multitask"


READS_DATA = ("train", "evaluate")


def check_heads(task: str, mode: str, heads: Mapping[Any, Any], data: Any) -> None:
    """Check the names of heads, their number, and that each has data.

    Args:
        task, mode: names of these options.
        heads: those of task=multitask by name.
        data: its configuration; several data sets have `parts`.
    Raises:
        InputError: one of them does not fit.
    """
    if task != MANY:
        if heads:
            raise InputError(f"heads={{{', '.join(heads)}}}: needs task={MANY}; task={task} has `head`")
        if _is_mixed(data):
            raise InputError(f"data=mixed: needs task={MANY}; task={task} learns from one data set")
        return
    parts = {f"parts.{name}.": part for name, part in (getattr(data, "parts", None) or {}).items()}
    for where, one in {"": data, **parts}.items():
        if strength := getattr(one, "balanced_sampling", 0):
            raise InputError(
                f"data.{where}balanced_sampling={strength:g}: needs one head, which says what is rare; leave it out"
            )
    if mode == "inspect":
        raise InputError(
            f"mode=inspect task={MANY}: looks at one data set at a time; name the task of one head and its"
            " data, such as task=detection data=coco"
        )
    for name, head in heads.items():
        _check_name(name)
        if not isinstance(head, HeadConfig):
            raise InputError(
                f"heads.{name}: is no head; add one by +heads@heads.{name}=ssdlite, or linear, deeplabv3, lraspp"
            )
        if not 0 < head.loss_weight < math.inf:
            raise InputError(
                f"heads.{name}.loss_weight={head.loss_weight}: must be positive; lr_factor=0 freezes a head"
            )
        if not 0 <= head.lr_factor < math.inf:
            raise InputError(f"heads.{name}.lr_factor={head.lr_factor}: must not be negative; 0 freezes the head")
        if head.head is None:
            raise InputError(f"heads.{name}.head: is not set; say +head@heads.{name}.head=ssdlite or another head")
        check_kind(f"heads.{name}.kind={head.kind.value}", head.kind, head.head)
    if not heads:
        raise InputError(f"heads: there are none; add one by +heads@heads.NAME=ssdlite, or leave task={MANY} out")
    if mode == "train" and not any(head.lr_factor for head in heads.values()):
        raise InputError("heads.*.lr_factor=0: of every head, so none learns; give one a positive factor")
    if mode in READS_DATA:
        check_parts(heads, data)


def check_kind(what: str, kind: Kind, head: Any) -> None:
    """Check that a head learns what it is to learn; of a foreign one that says nothing of it, that is believed.

    Args:
        what: the word that says the kind.
        head: its configuration.
    Raises:
        InputError: it learns something else.
    """
    its = getattr(head, "KIND", kind)
    if its is not kind:
        name = type(head).__name__.removesuffix("Config").lower()
        raise InputError(
            f"{what}: needs a head for {kind.value}, and head={name} is for {its.value}; name another head, or say"
            f" {what.partition('=')[0]}={its.value}"
        )


def _is_mixed(data: Any) -> bool:
    """Whether a data configuration is of several data sets."""
    return hasattr(data, "parts")


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not name.isidentifier() or name == "backbone":
        raise InputError(
            f"heads.{name}: a head's name must be letters, digits and underscores, no digit first, and not `backbone`"
        )


def check_parts(heads: Mapping[str, HeadConfig], data: Any) -> None:
    """Check that every head has a part of the data, and every part a head.

    Raises:
        InputError: one has not.
    """
    if not _is_mixed(data):
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
    """Name the one of `data.parts` that a head learns from."""
    return head.data or name


def nearest(wrong: str, names: Iterable[str]) -> str:
    """The end of a sentence that offers the most similar name, if there is one."""
    near = get_close_matches(wrong, list(names), n=1)
    return f"; did you mean {near[0]}?" if near else "."
