"""The origin of a file of weights, told by the names of its tensors."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from backbone.architecture import Padding
from backbone.errors import InputError
from backbone.weights import dli14, huggingface, keras, timm, torchvision, torchvision_v3, trident
from backbone.weights.tensorflow import slim

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from backbone.weights.sources import Weights


class Source(Protocol):
    """A module that knows the names of one implementation, and what its authors trained with."""

    ORIGIN: str

    def recognises(self, names: Mapping[str, Tensor]) -> bool: ...

    def convert(self, source: str, tensors: dict[str, Tensor], header: Mapping[str, str]) -> Weights: ...


SOURCES: tuple[Source, ...] = (trident, torchvision, torchvision_v3, timm, huggingface, keras, dli14, slim)


def recognise(source: str, tensors: dict[str, Tensor], header: Mapping[str, str]) -> Weights:
    """Tell the origin of a file by its names; what its header says of padding and scaling goes before what is usual.

    The counters of batches that PyTorch keeps beside its statistics are left out: nothing here reads them.

    Raises:
        InputError: no implementation known here has such names.
    """
    for implementation in SOURCES:
        if implementation.recognises(tensors):
            tensors = {name: tensor for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")}
            return _told(implementation.convert(source, tensors, header), header)
    some = ", ".join(list(tensors)[:3])
    raise InputError(
        f"{source}: its names ({some} ..) are of no known MobileNet; known are those of "
        f"{', '.join(dict.fromkeys(implementation.ORIGIN for implementation in SOURCES))}"
    )


def _told(weights: Weights, header: Mapping[str, str]) -> Weights:
    """Apply `padding`, `bn_eps`, `mean` and `std` of a safetensors header."""
    told = weights
    try:
        if "padding" in header:
            told = replace(told, padding=Padding[header["padding"]])
        if "bn_eps" in header:
            told = replace(told, bn_eps=float(header["bn_eps"]))
        if "mean" in header:
            told = replace(told, input_mean=_three(header["mean"]))
        if "std" in header:
            told = replace(told, input_std=_three(header["std"]))
    except InputError:
        raise
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{weights.source}: its header must give padding as one of {', '.join(Padding.__members__)}, bn_eps as a "
            f"number, mean and std as three numbers with commas; {error} is none"
        ) from error
    return told


def _three(text: str) -> tuple[float, ...]:
    values = tuple(float(part) for part in text.split(","))
    if len(values) != 3:
        raise ValueError(repr(text))
    return values
