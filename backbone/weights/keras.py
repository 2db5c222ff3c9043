"""Names of Keras' MobileNets as h5: the released files, and what `save_weights` and `save` write (Keras 2 and 3).

A layer's arrays are named after it: `block_1_expand/kernel`. Reading h5 needs h5py (the extra `keras`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from backbone.errors import InputError
from backbone.families.mobilenet_v3 import LARGE, SMALL
from backbone.weights.sources import BLOCKS, BLOCKS_V1, Weights, block_names, trained_in_tensorflow

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

ORIGIN = "Keras"
V3_ENDS = {
    "conv": "stem.conv",
    "conv_bn": "stem.norm",
    "conv_1": "last.conv",
    "conv_1_bn": "last.norm",
    "conv_2": "hidden.0",
    "logits": "classifier",
}
ENDS = {
    "mobilenet_v1": {"conv1": "stem.conv", "conv1_bn": "stem.norm", "conv_preds": "classifier"},
    "mobilenet_v2": {
        "Conv1": "stem.conv",
        "bn_Conv1": "stem.norm",
        "Conv_1": "last.conv",
        "Conv_1_bn": "last.norm",
        "predictions": "classifier",
    },
    "mobilenet_v3_large": V3_ENDS,
    "mobilenet_v3_small": V3_ENDS,
}
PARTS = {
    **{part: f"{part}.conv" for part in ("expand", "depthwise", "project")},
    **{f"{part}_{norm}": f"{part}.norm" for part in ("expand", "depthwise", "project") for norm in ("BN", "bn")},
    "squeeze_excite_conv": "squeeze.reduce",
    "squeeze_excite_conv_1": "squeeze.expand",
}
BLOCKS_OF = {
    "mobilenet_v1": BLOCKS_V1,
    "mobilenet_v2": BLOCKS,
    "mobilenet_v3_large": block_names(LARGE.stages),
    "mobilenet_v3_small": block_names(SMALL.stages),
}
CLASSIFIER = ("hidden.0.weight", "classifier.weight")
ARRAYS = {
    "kernel": "weight",
    "depthwise_kernel": "weight",
    "gamma": "weight",
    "bias": "bias",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


MAX_BYTES = 1 << 30
"""Largest size of one array; a file of a kilobyte can say that it has more."""


def read_h5(file: Path) -> dict[str, Tensor]:
    """Read every array of an h5 file as `layer/array`.

    Raises:
        InputError: h5py is not installed; the file is damaged, leads to others, or holds an array too large.
    """
    try:
        import h5py
    except ImportError as error:
        raise InputError(f"weights {file}: reading h5 needs h5py: pip install h5py") from error
    tensors: dict[str, Tensor] = {}

    def keep(path: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.shape and item.dtype.kind == "f":
            if item.external is not None or item.is_virtual:
                raise InputError(f"weights {file}: {path} lies in other files; it is not to be trusted")
            if item.nbytes > MAX_BYTES:
                raise InputError(f"weights {file}: {path} has {item.nbytes} bytes; at most {MAX_BYTES} are read")
            tensors[_array_name(path, item)] = torch.from_numpy(item[()])

    try:
        with h5py.File(file, "r") as content:
            content.visititems(keep)
    except InputError:
        raise
    except Exception as error:  # h5py raises what a damaged table leads it to
        why = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(f"weights {file}: damaged or cut short ({why}); get the file again") from error
    return tensors


def _array_name(path: str, item: Any) -> str:
    """Name as `layer/array`. Keras 3 numbers the arrays and writes the layer's name beside them."""
    layer, array = path.split("/")[-2:] if "/" in path else ("", path)
    name = item.parent.attrs.get("name")
    if layer != "vars" or name is None:
        return f"{layer}/{array.partition(':')[0]}"
    order = ("gamma", "beta", "moving_mean", "moving_variance") if len(item.parent) == 4 else ("kernel", "bias")
    return f"{name}/{order[int(array)]}" if array.isdigit() and int(array) < len(order) else f"{name}/{array}"


def recognises(names: Mapping[str, Tensor]) -> bool:
    return _family(names) != ""


def convert(source: str, tensors: dict[str, Tensor], header: Mapping[str, str]) -> Weights:
    family = _family(tensors)
    renamed = {rename(name, family): tensor for name, tensor in tensors.items()}
    return trained_in_tensorflow(
        source, ORIGIN, {name: to_torch(name, tensor) for name, tensor in renamed.items()}, family=family
    )


def _family(names: Mapping[str, Tensor]) -> str:
    """The network; empty: none of Keras'."""
    if "Conv1/kernel" in names and "block_1_expand/kernel" in names:
        return "mobilenet_v2"
    if "conv1/kernel" in names and "conv_pw_1/kernel" in names:
        return "mobilenet_v1"
    if "conv/kernel" in names and "expanded_conv_1_expand/kernel" in names:
        large = "expanded_conv_14_expand/kernel" in names
        return "mobilenet_v3_large" if large else "mobilenet_v3_small"
    return ""


def rename(name: str, family: str) -> str:
    """Our name of an array; a name without a counterpart stays."""
    layer, _, array = name.partition("/")
    if array not in ARRAYS:
        return name
    if layer in ENDS[family]:
        return f"{ENDS[family][layer]}.{ARRAYS[array]}"
    index, part = _block(layer, family)
    blocks = BLOCKS_OF[family]
    known = 0 <= index < len(blocks) and part in PARTS
    return f"{blocks[index]}.{PARTS[part]}.{ARRAYS[array]}" if known else name


def _block(layer: str, family: str) -> tuple[int, str]:
    """Index of a layer's block, -1 where it is of none, and which part of it the layer is."""
    if family == "mobilenet_v1":
        match layer.split("_"):
            case ["conv", kind, number, *norm] if kind in ("dw", "pw") and number.isdigit():
                return int(number) - 1, "_".join(["depthwise" if kind == "dw" else "project", *norm])
        return -1, ""
    if layer.startswith("expanded_conv_"):
        number, _, part = layer.removeprefix("expanded_conv_").partition("_")
        return (int(number), part) if number.isdigit() else (0, layer.removeprefix("expanded_conv_"))
    number, _, part = layer.removeprefix("block_").partition("_")
    return (int(number), part) if layer.startswith("block_") and number.isdigit() else (-1, "")


def to_torch(name: str, array: Tensor) -> Tensor:
    """Transpose (height, width, in, out) to (out, in, height, width); depthwise filters are (height, width, out, 1).

    A classifier's layers are matrices (out, in), also where Keras has 1x1 convolutions.
    """
    if array.ndim == 4:
        order = (2, 3, 0, 1) if ".depthwise." in name else (3, 2, 0, 1)
        array = array.permute(order).contiguous()
        return array.flatten(1) if name in CLASSIFIER else array
    return array.T.contiguous() if name in CLASSIFIER else array
