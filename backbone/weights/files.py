"""Reading of tensors from files that somebody else wrote. Nothing is ever unpickled into code."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from backbone.errors import InputError
from backbone.weights.keras import read_h5

WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Keys under which training scripts put the weights."""


def read_tensors(path: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by name and the header's text, which only safetensors files have.

    Raises:
        InputError: the file is absent, of another kind, cut short, or holds more than tensors.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"weights {path}: no such file")
    if file.suffix == ".safetensors":
        return _read_safetensors(file)
    if file.suffix in (".pth", ".pt", ".bin"):
        return _read_torch(file), {}
    if file.suffix in (".h5", ".hdf5"):
        return read_h5(file), {}
    raise InputError(f"weights {path}: must end in .safetensors, .pth, .pt, .bin or .h5")


def _read_safetensors(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(file, framework="pt") as content:
            return {name: content.get_tensor(name) for name in content.keys()}, content.metadata() or {}  # noqa: SIM118
    except SafetensorError as error:
        raise InputError(f"weights {file}: damaged or cut short ({error}); get the file again") from error


def _read_torch(file: Path) -> dict[str, Tensor]:
    try:
        content: Any = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"weights {file}: holds more than tensors and is refused, because reading it could run code; "
            "save its state_dict alone"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise InputError(f"weights {file}: damaged or cut short ({error}); get the file again") from error
    for key in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise InputError(f"weights {file}: must hold a state_dict, names with tensors")
    return {str(name).removeprefix("module."): tensor for name, tensor in content.items()}
