"""Reading of tensors from files that somebody else wrote. Nothing is ever unpickled into code."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from backbone.errors import InputError
from backbone.tensor_file import check_seal, read_tensor_file
from backbone.weights.keras import read_h5
from backbone.weights.tensorflow.prefix import checkpoint_prefix

WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Keys under which training scripts put the weights."""


def read_tensors(path: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by name and texts that the file says of them: the header of safetensors, what a graph tells.

    Args:
        path: of a file, or the prefix of a TensorFlow checkpoint, or the folder of a SavedModel.

    Raises:
        InputError: the file is absent, of another kind, cut short, or holds more than tensors.
    """
    if (prefix := checkpoint_prefix(path)) is not None:
        return _read_checkpoint(prefix)
    file = Path(path)
    if not file.is_file():
        raise InputError(f"weights {path}: no such file")
    if file.suffix == ".safetensors":
        try:
            return read_safetensors(file)
        except InputError as error:
            raise InputError(f"weights {error}") from error
    if file.suffix in (".pth", ".pt", ".bin"):
        return _read_torch(file), {}
    if file.suffix in (".h5", ".hdf5"):
        return read_h5(file), {}
    if file.suffix == ".pb":
        from backbone.weights.tensorflow.graph import read_graph

        return read_graph(file)
    if file.suffix == ".tflite":
        from backbone.weights.tensorflow.lite import read_lite

        return read_lite(file)
    raise InputError(
        f"weights {path}: must end in .safetensors, .pth, .pt, .bin, .h5, .pb, .tflite or .index, or be the prefix of a"
        " TensorFlow checkpoint or the folder of a SavedModel"
    )


def _read_checkpoint(prefix: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """A checkpoint of TensorFlow, and what a pipeline.config beside it says."""
    from backbone.weights.tensorflow.checkpoint import read_checkpoint
    from backbone.weights.tensorflow.pipeline import NAME, read_pipeline

    pipeline = Path(prefix).with_name(NAME)
    told = {"graph": json.dumps(read_pipeline(pipeline))} if pipeline.is_file() else {}
    return read_checkpoint(prefix), told


def read_safetensors(file: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by name, and the texts of the header; a checksum in it is compared.

    Raises:
        InputError: there is no such file, or it is damaged, cut short or of another kind.
    """
    header = read_tensor_file(file)
    check_seal(file)
    try:
        return load_file(file), dict(header.metadata)
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{file}: damaged or cut short ({error}); get the file again") from error


def _read_torch(file: Path) -> dict[str, Tensor]:
    try:
        content: Any = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"weights {file}: holds more than tensors and is refused, because reading it could run code; "
            "save its state_dict alone"
        ) from error
    except Exception as error:  # torch raises what a damaged pickle makes it raise
        why = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(f"weights {file}: damaged or cut short ({why}); get the file again") from error
    for key in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise InputError(f"weights {file}: must hold a state_dict, names with tensors")
    return {str(name).removeprefix("module."): tensor for name, tensor in content.items()}
