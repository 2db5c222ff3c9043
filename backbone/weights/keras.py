"""Names of Keras' MobileNetV2 as h5: the released files, and what `save_weights` and `save` write (Keras 2 and 3).

A layer's arrays are named after it: `block_1_expand/kernel`. Reading h5 needs h5py (the extra `keras`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from backbone.errors import InputError
from backbone.weights.sources import BLOCKS, Weights, trained_in_tensorflow

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

ORIGIN = "Keras"
ENDS = {
    "Conv1": "stem.conv",
    "bn_Conv1": "stem.norm",
    "Conv_1": "last.conv",
    "Conv_1_bn": "last.norm",
    "predictions": "classifier",
}
PARTS = {
    "expand": "expand.conv",
    "expand_BN": "expand.norm",
    "depthwise": "depthwise.conv",
    "depthwise_BN": "depthwise.norm",
    "project": "project.conv",
    "project_BN": "project.norm",
}
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
"""Of one array; a file of a kilobyte can say that it has more."""


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
    return "Conv1/kernel" in names and "block_1_expand/kernel" in names


def convert(source: str, tensors: dict[str, Tensor], header: Mapping[str, str]) -> Weights:
    renamed = {rename(name): tensor for name, tensor in tensors.items()}
    return trained_in_tensorflow(source, ORIGIN, {name: to_torch(name, tensor) for name, tensor in renamed.items()})


def rename(name: str) -> str:
    """Our name of an array; a name without a counterpart stays."""
    layer, _, array = name.partition("/")
    if array not in ARRAYS:
        return name
    if layer in ENDS:
        return f"{ENDS[layer]}.{ARRAYS[array]}"
    if layer.startswith("expanded_conv_"):
        index, part = 0, layer.removeprefix("expanded_conv_")
    else:
        number, _, part = layer.removeprefix("block_").partition("_")
        index = int(number) if number.isdigit() else len(BLOCKS)
    return f"{BLOCKS[index]}.{PARTS[part]}.{ARRAYS[array]}" if index < len(BLOCKS) and part in PARTS else name


def to_torch(name: str, array: Tensor) -> Tensor:
    """Transpose (height, width, in, out) to (out, in, height, width); depthwise filters are (height, width, out, 1)."""
    if array.ndim == 4:
        order = (2, 3, 0, 1) if ".depthwise." in name else (3, 2, 0, 1)
        return array.permute(order).contiguous()
    return array.T.contiguous() if name == "classifier.weight" else array
