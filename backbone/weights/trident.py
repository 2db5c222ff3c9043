"""Our own files: a run's `model.safetensors`, whose header says all there is to say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from backbone.architecture import Padding
from backbone.errors import InputError
from backbone.weights.sources import Weights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

ORIGIN = "trident"
PREFIX = "backbone."


def recognises(names: Mapping[str, Tensor]) -> bool:
    return f"{PREFIX}stem.conv.weight" in names


def convert(source: str, tensors: dict[str, Tensor], header: Mapping[str, str]) -> Weights:
    try:
        config = json.loads(header["config"])["backbone"]
        return Weights(
            source=source,
            origin=ORIGIN,
            tensors={name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()},
            padding=Padding[config["padding"]],
            dilate_first=config.get("dilate_first"),
            bn_eps=float(config["bn_eps"]),
            input_mean=tuple(config["input_mean"]),
            input_std=tuple(config["input_std"]),
        )
    except InputError:
        raise
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{source}: has our names but not our header ({error!r}); use the file of a run") from error
