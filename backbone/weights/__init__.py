"""Weights that people have, into our backbone.

    print(load("mobilenet_v2.safetensors", backbone))

Every public source has a small module here that knows its names and what its authors trained with. What a source says
of padding, epsilon and input scaling goes with the weights into the backbone, unless its constructor was told else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from backbone.errors import InputError
from backbone.weights.files import read_tensors
from backbone.weights.sources import LoadReport, Weights, recognise

if TYPE_CHECKING:
    from backbone.mobilenet_v2 import MobileNetV2

__all__ = ["LoadReport", "Weights", "load", "read"]


def read(source: str) -> Weights:
    """The weights at `source` under our names, with what they were trained with.

    Raises:
        InputError: there is no such file, it is damaged or holds code, or its names are of no known origin.
    """
    tensors, header = read_tensors(source)
    return recognise(source, tensors, header)


def load(source: str | Weights, backbone: MobileNetV2) -> LoadReport:
    """Load weights into `backbone` and adopt their padding, epsilon and input scaling.

    Raises:
        InputError: a tensor does not fit, or none is of use; the message names them. The backbone is unchanged then.
    """
    weights = read(source) if isinstance(source, str) else source
    ours = {name: tensor for name, tensor in backbone.state_dict().items() if not name.endswith("num_batches_tracked")}
    shared = [name for name in ours if name in weights.tensors]
    misfits = [name for name in shared if weights.tensors[name].shape != ours[name].shape]
    if misfits:
        name = misfits[0]
        theirs, wanted = (tuple(t.shape) for t in (weights.tensors[name], ours[name]))
        hint = f"; they look like width {weights.width:g}: backbone.width={weights.width:g}" if weights.width else ""
        raise InputError(
            f"{weights.source}: {len(misfits)} of {len(shared)} tensors do not fit a backbone of width "
            f"{backbone.config.width:g}: {name} is {theirs}, wanted {wanted}{hint}"
        )
    if not shared:
        raise InputError(f"{weights.source}: none of its {len(weights.tensors)} tensors belongs to this backbone")
    with torch.no_grad():
        for name in shared:
            ours[name].copy_(weights.tensors[name])
    backbone.adopt(
        padding=weights.padding, bn_eps=weights.bn_eps, input_mean=weights.input_mean, input_std=weights.input_std
    )
    return LoadReport(
        source=weights.source,
        origin=weights.origin,
        loaded=shared,
        fresh=[name for name in ours if name not in weights.tensors],
        unused=[name for name in weights.tensors if name not in ours],
        padding=backbone.padding,
        bn_eps=backbone.bn_eps,
        input_mean=backbone.input_mean,
        input_std=backbone.input_std,
    )
