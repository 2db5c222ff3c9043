"""Weights that people have, into our backbone.

    print(load("mobilenet_v2.safetensors", backbone))
    print(load("timm:mobilenetv2_100.ra_in1k", backbone))

Every public source has a small module here that knows its names and what its authors trained with. What a source says
of padding, epsilon and input scaling goes with the weights into the backbone, unless its constructor was told else.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from backbone.errors import InputError
from backbone.weights.cache import download, is_name
from backbone.weights.files import read_tensors
from backbone.weights.recognise import recognise
from backbone.weights.sources import LoadReport, Weights

if TYPE_CHECKING:
    from backbone.disk import Progress
    from backbone.mobilenet import MobileNet

__all__ = ["LoadReport", "Weights", "load", "read"]


def read(source: str, progress: Progress | None = None) -> Weights:
    """The weights at `source` under our names, with what they were trained with.

    Args:
        source: the path of a file (.safetensors, .pth, .pt, .bin, .h5), or `source:name` of public weights
            (see backbone.weights.registry), which are downloaded once into `cache_folder()`.
        progress: told of every block of a download.
    Raises:
        InputError: there is no such file or name, a download failed or is another file than was published; the file
            is damaged, holds code, or values that are not finite; its names are of no known origin.
    """
    path, checked = download(source, progress) if is_name(source) else (source, "")
    tensors, header = read_tensors(str(path))
    spoiled = next((name for name, tensor in tensors.items() if not tensor.isfinite().all()), None)
    if spoiled is not None:
        raise InputError(
            f"weights {source}: {spoiled} holds NaN or infinite values; get the file again, or train again"
        )
    return replace(recognise(source, tensors, header), checked=checked)


def load(source: str | Weights, backbone: MobileNet, progress: Progress | None = None) -> LoadReport:
    """Load weights into `backbone` and adopt their padding, epsilon and input scaling.

    Args:
        source, progress: see `read`; or weights that were read before.
    Raises:
        InputError: a tensor does not fit, none is of use, or a stage has more or fewer tensors than the backbone's; the
            message names them. The backbone is unchanged then.
    """
    weights = read(source, progress) if isinstance(source, str) else source
    ours = {name: tensor for name, tensor in backbone.state_dict().items() if not name.endswith("num_batches_tracked")}
    shared = [name for name in ours if name in weights.tensors]
    misfits = [name for name in shared if weights.tensors[name].shape != ours[name].shape]
    if misfits:
        name = misfits[0]
        theirs, wanted = (tuple(t.shape) for t in (weights.tensors[name], ours[name]))
        options = weights.options
        if options and weights.family != backbone.config.NAME:
            options = f"backbone={weights.family} {options}"
        hint = f"; they look like those of a backbone with {options}" if options else ""
        raise InputError(
            f"{weights.source}: {len(misfits)} of {len(shared)} tensors do not fit a backbone of width "
            f"{backbone.config.width:g}: {name} is {theirs}, wanted {wanted}{hint}"
        )
    surplus = _surplus(weights, backbone)
    if surplus:
        raise InputError(
            f"{weights.source}: has more blocks or layers than this backbone ({surplus[0]} and {len(surplus) - 1} more "
            f"tensors have no place): its outputs would be wrong"
        )
    gaps = _gaps(weights, backbone)
    if gaps:
        raise InputError(
            f"{weights.source}: lacks {gaps[0]} and {len(gaps) - 1} more tensors of stages that it has others of; "
            f"get a file that is whole, or a backbone with as many blocks"
        )
    if not shared:
        raise InputError(f"{weights.source}: none of its {len(weights.tensors)} tensors belongs to this backbone")
    with torch.no_grad():
        for name in shared:
            ours[name].copy_(weights.tensors[name])
    backbone.adopt(
        padding=weights.padding,
        dilate_first=weights.dilate_first,
        bn_eps=weights.bn_eps,
        input_mean=weights.input_mean,
        input_std=weights.input_std,
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
        checked=weights.checked,
    )


def _surplus(weights: Weights, backbone: MobileNet) -> list[str]:
    """Tensors that the backbone lacks in stages that it computes to their end."""
    stages = [stage for stage in backbone.stages if not backbone.end.startswith(f"{stage}.")]
    ours = backbone.state_dict()
    return [name for name in weights.tensors if name.partition(".")[0] in stages and name not in ours]


def _gaps(weights: Weights, backbone: MobileNet) -> list[str]:
    """Tensors of the backbone that the file lacks, in parts of which it has others. A whole part may be absent."""
    present = {name.partition(".")[0] for name in weights.tensors}
    return [
        name
        for name in backbone.state_dict()
        if name.partition(".")[0] in present
        and name not in weights.tensors
        and not name.endswith("num_batches_tracked")
    ]
