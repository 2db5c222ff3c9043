"""Heads that start from single runs, on one backbone."""

from __future__ import annotations

import logging
from dataclasses import fields
from enum import Enum
from typing import TYPE_CHECKING, Any

import torch

from backbone.errors import InputError
from backbone.mobilenet import MobileNet
from tasks.checkpoints.model_file import check_labels, read_checkpoint, read_header
from tasks.data.labels import LabelMap

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from tasks.checkpoints.model_file import Header
    from tasks.config.heads import HeadConfig
    from tasks.model import VisionModel

log = logging.getLogger(__name__)


def start_heads(
    heads: Mapping[str, HeadConfig], backbone: Any, model: VisionModel, labels: Mapping[str, LabelMap]
) -> None:
    """Load what `heads.*.weights` names.

    Args:
        heads, labels: by the head's name.
        backbone: its configuration.
    Raises:
        InputError: a file is no checkpoint of a run, its backbone is built in another way, it has no such head, or its
            classes are others.
    """
    for name, head in heads.items():
        if head.weights is None:
            continue
        source = f"heads.{name}.weights={head.weights}"
        if getattr(backbone, "weights", None) is None:
            raise InputError(
                f"{source}: a head needs the backbone that it was trained on; say backbone.weights={head.weights}, or"
                " that of another of the heads"
            )
        header = read_header(head.weights)
        _check_backbone(source, header, model.backbone)
        theirs = _head_of(source, header, name)
        check_labels(source, LabelMap.from_plain(header.labels[theirs]), labels[name])
        tensors = read_checkpoint(head.weights)
        _load(source, model.heads[name], _below(tensors, f"heads.{theirs}."))
        others = _differing(model.backbone, _below(tensors, "backbone."))
        log.info("head %s: from %s", name, head.weights)
        if others:
            log.warning(
                "head %s was trained on a backbone of other weights (%d tensors differ); optim.heads_first=STEPS lets"
                " it get used to this one before both learn", name, others,
            )  # fmt: skip


def _check_backbone(source: str, header: Header, backbone: nn.Module) -> None:
    if not isinstance(backbone, MobileNet):
        raise InputError(f"{source}: heads of other runs can be joined on a MobileNet only")
    theirs = header.config.get("backbone") or {}
    ours: dict[str, Any] = {
        **backbone.config.network(),
        "padding": backbone.padding.name,
        "bn_eps": backbone.bn_eps,
        "input_mean": list(backbone.input_mean),
        "input_std": list(backbone.input_std),
    }
    usual = {field.name: field.default for field in fields(backbone.config)}
    usual = {name: value.name if isinstance(value, Enum) else value for name, value in usual.items()}
    for key, value in ours.items():
        told = theirs.get(key, usual.get(key))  # what a header of an earlier version leaves out was as it is usually
        if told != value:
            raise InputError(
                f"{source}: was trained on a backbone of {key}={told}, this one has {key}={value}; heads are"
                " joined on one kind of backbone: take checkpoints of the same"
            )


def _head_of(source: str, header: Header, name: str) -> str:
    """The head of a checkpoint that has the name, or its only one."""
    if name in header.labels:
        return name
    if len(header.labels) == 1:
        return next(iter(header.labels))
    raise InputError(f"{source}: has no head {name}; it has {', '.join(header.labels)}: name this one like it")


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _load(source: str, head: nn.Module, theirs: Mapping[str, Tensor]) -> None:
    ours = head.state_dict()
    wrong = [name for name in ours if name not in theirs or theirs[name].shape != ours[name].shape]
    wrong += [name for name in theirs if name not in ours]
    if wrong:
        raise InputError(f"{source}: holds another head: {len(wrong)} tensors do not fit, the first is {wrong[0]}")
    head.load_state_dict(dict(theirs))


def _differing(backbone: nn.Module, theirs: Mapping[str, Tensor]) -> int:
    """How many tensors of the backbone are others than where a head was trained."""
    ours = backbone.state_dict()
    return sum(name in ours and not torch.equal(ours[name].cpu(), tensor) for name, tensor in theirs.items())
