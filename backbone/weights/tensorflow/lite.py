"""Weights of TensorFlow Lite files (`.tflite`), float or 8 bits, as floats: read by LiteRT's own interpreter.

Batch normalisation is folded into the convolutions there: each has weights and a bias.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from backbone.errors import InputError
from backbone.weights.tensorflow.slim import FOLDED

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

LEVELS = 255
"""Largest value of a byte."""
WEIGHTS = ("/weights_quant/FakeQuantWithMinMaxVars", "/depthwise_weights", "/weights")
BIASES = ("/BatchNorm_Fold/bias", "/biases")


def read_lite(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Weights and biases under the names of the variables that they were made from, and the size and the scaling
    of the input.

    A bias with a normalisation folded in is named `SCOPE/folded_bias`. Values of 8 bits are multiplied out.

    Raises:
        InputError: LiteRT is not installed, or refuses the file.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise InputError(f"weights {file}: reading .tflite needs LiteRT: pip install 'trident[litert]'") from error
    try:
        reader = Interpreter(model_path=str(file))
        reader.allocate_tensors()
        given = reader.get_input_details()[0]
        shape = [int(side) for side in given["shape"]]
        tensors: dict[str, Tensor] = {}
        for detail in reader.get_tensor_details():
            name = _variable(detail)
            if name:
                value = torch.from_numpy(_floats(reader.get_tensor(detail["index"]), detail))
                tensors[name] = value.permute(1, 2, 3, 0) if value.ndim == 4 else value  # TensorFlow's order
    except (ValueError, RuntimeError, OSError) as error:
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise InputError(f"weights {file}: LiteRT refuses it ({reason}); get the file again") from error
    facts = {"image_size": shape[1]} if len(shape) == 4 and shape[1] == shape[2] else {}
    return tensors, {"graph": json.dumps(facts)} | _scaling(given)


def _scaling(given: dict[str, Any]) -> dict[str, str]:
    """Mean and standard deviation of inputs in [0, 1] where the file takes bytes: (byte - zero point) x scale."""
    scale, zero = given["quantization"]
    if given["dtype"] is not np.uint8 or not scale > 0:
        return {}
    return {"mean": ",".join([f"{zero / LEVELS:.9g}"] * 3), "std": ",".join([f"{1 / (LEVELS * scale):.9g}"] * 3)}


def _variable(detail: dict[str, Any]) -> str:
    """Name of the variable that a tensor was made from; nothing: it is none.

    The converter names a tensor by all operations that it replaces; the last is the variable's.
    """
    last, rank = detail["name"].rpartition(";")[2], len(detail["shape"])
    for ending in WEIGHTS:
        if rank == 4 and last.endswith(ending):
            scope = last.removesuffix(ending)
            return f"{scope}/{'depthwise_weights' if scope.endswith('depthwise') else 'weights'}"
    for ending in BIASES:
        if rank == 1 and last.endswith(ending):
            scope = last.removesuffix(ending)
            return f"{scope}/biases" if ending == "/biases" else f"{scope}{FOLDED}"
    return ""


def _floats(values: NDArray[Any], detail: dict[str, Any]) -> NDArray[np.float32]:
    """Values times their scale, of the whole tensor or of each channel."""
    parameters = detail["quantization_parameters"]
    scales, zeros = parameters["scales"], parameters["zero_points"]
    if not len(scales):
        return values.astype(np.float32)
    shape = [1] * values.ndim
    if len(scales) > 1:
        shape[parameters["quantized_dimension"]] = len(scales)
    floats: NDArray[np.float32] = (values.astype(np.float64) - zeros.reshape(shape)) * scales.reshape(shape)
    return floats.astype(np.float32)
