"""LiteRT (TensorFlow Lite): a file from a graph, in float or in 8 bits, and its runtime. See `toolchains.Tools`.

The way to 8 bits is by the float file: the converter's own quantisation of exported programs writes wrong files.
"""

from __future__ import annotations

import copy
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbone.errors import InputError
from tasks.config.export import Precision
from tasks.deploy.header import appended as with_header
from tasks.deploy.quiet import overheard, quiet
from tasks.deploy.rounding import SWISH_ZERO

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from tasks.deploy.graph import ExportGraph

    Image = NDArray[np.uint8]

__all__ = ["LIBRARY", "Runtime", "convert", "quantize", "with_header"]

LIBRARY = "ai_edge_litert.interpreter"
SIGNATURE = "serving_default"
INPUT = "args_0"
TAIL = "tasks.deploy.endings|serving_default_output"
"""In the names of what operators behind the heads give out."""
LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
NOT_LAYERS = (
    "OUTPUT", "ADD", "SUB", "MUL", "DIV", "SOFTMAX", "LOGISTIC", "CONCATENATION", "SLICE", "STRIDED_SLICE", "SPLIT",
    "TRANSPOSE", "RESHAPE", "MAXIMUM", "RESIZE_BILINEAR", "PACK", "UNPACK", "GATHER", "BROADCAST_TO",
)  # fmt: skip
"""Operators that stay in float there. What is not named here and is no layer the quantiser leaves in float itself."""


def convert(graph: ExportGraph, precision: Precision) -> bytes:
    """See `Tools.convert`."""
    from tasks.deploy.endings import Pixels

    graph = copy.deepcopy(graph)
    for ending in graph.endings.values():
        if isinstance(ending, Pixels):
            ending.channels_last = True  # else the map is turned at the size of the image
    with tempfile.TemporaryDirectory() as folder, quiet():
        import litert_torch

        path = Path(folder) / "model.tflite"
        litert_torch.convert(graph, (graph.example(),)).export(str(path))
        content = path.read_bytes()
    if precision is Precision.fp16:
        return _quantized(content, _weights_in_halves(), None)
    return content


def quantize(graph: ExportGraph, images: Sequence[Image]) -> bytes:
    """See `Tools.quantize`.

    Weights have a scale for each output channel, activations one and a zero point. What comes behind the heads stays in
    float.
    """
    return _quantized(convert(graph, Precision.fp32), _in_8_bits(), images)


class Runtime:
    """ai-edge-litert's interpreter on the CPU. See `toolchains.Runtime`."""

    def __init__(self, path: str, names: Sequence[str], threads: int | None = None) -> None:
        from ai_edge_litert.interpreter import Interpreter

        with overheard():
            interpreter = Interpreter(model_path=path, num_threads=threads or _cores())
            interpreter.allocate_tensors()  # tells of its delegate
            self.run = interpreter.get_signature_runner(SIGNATURE)
        self.outputs = [f"output_{place}" for place in range(len(names))]

    def __call__(self, image: Image) -> list[NDArray[Any]]:
        found = self.run(**{INPUT: image})
        return [found[name] for name in self.outputs]


def layer_outputs(content: bytes, names: Sequence[str], images: Sequence[Image]) -> Iterator[dict[str, NDArray[Any]]]:
    """See `layers.Probe`. A file has its layers in the order in which they were met, without their names."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    ends = _ends(content)
    if len(ends) != len(names):
        raise InputError(f"export.layers=true: the file has {len(ends)} layers, and the model {len(names)}")
    with overheard():
        interpreter = Interpreter(
            model_content=content,
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        interpreter.allocate_tensors()
        run = interpreter.get_signature_runner(SIGNATURE)
        details = {one["index"]: one["quantization"] for one in interpreter.get_tensor_details()}
        for image in images:
            run(**{INPUT: image[None]})
            yield {
                name: _in_float(interpreter.get_tensor(end), *details[end])
                for name, end in zip(names, ends, strict=True)
            }


def _in_float(values: NDArray[Any], scale: float, zero: int) -> NDArray[Any]:
    return values if not scale else scale * (values.astype("float32") - zero)


def _ends(content: bytes) -> list[int]:
    """Places of the tensors that the layers give out, behind their activations, in order."""
    from ai_edge_quantizer.utils import tfl_flatbuffer_utils as flatbuffer

    model = flatbuffer.read_model(bytearray(content))
    kinds = flatbuffer.TFL_OP_CODE_TO_NAME
    (graph,) = model.subgraphs
    operators = [(kinds.get(model.operatorCodes[one.opcodeIndex].builtinCode), one) for one in graph.operators]
    ends = []
    for kind, operator in operators:
        if kind in LAYERS:
            end = operator.outputs[0]
            takers = [(of, one) for of, one in operators if end in one.inputs]
            if [of for of, _ in takers] == ["HARD_SWISH"]:
                end = takers[0][1].outputs[0]
            ends.append(int(end))
    return ends


def _quantized(content: bytes, recipe: Any, images: Sequence[Image] | None) -> bytes:
    """The model after a recipe. Ranges are the widest that were seen: the tool's own, a moving average, lose them."""
    from ai_edge_quantizer import calibrator, quantizer
    from ai_edge_quantizer.utils.qsv_utils import min_max_update

    with quiet():
        ranges = None
        if images is not None:
            watch = calibrator.Calibrator(content, num_threads=1, qsv_update_func=min_max_update)
            watch.calibrate({SIGNATURE: [{INPUT: image[None]} for image in images]}, recipe)
            ranges = watch.get_model_qsvs()
            _cut_before_swish(content, ranges)
        tool = quantizer.Quantizer(content, recipe.get_quantization_recipe())
        return bytes(tool.quantize(ranges).quantized_model)


def _cut_before_swish(content: bytes, ranges: dict[str, Any]) -> None:
    """Let ranges of what goes into hard swish, and nowhere else, begin where that is 0; in place."""
    from ai_edge_quantizer.utils import tfl_flatbuffer_utils as flatbuffer

    model = flatbuffer.read_model(bytearray(content))
    (graph,) = model.subgraphs
    takers: dict[int, list[Any]] = {}
    for operator in graph.operators:
        kind = flatbuffer.TFL_OP_CODE_TO_NAME.get(model.operatorCodes[operator.opcodeIndex].builtinCode)
        for tensor in operator.inputs:
            takers.setdefault(int(tensor), []).append(kind)
    for tensor, kinds in takers.items():
        name = flatbuffer.get_tensor_name(graph.tensors[tensor])
        if kinds == ["HARD_SWISH"] and name in ranges:
            ranges[name]["min"] = ranges[name]["min"].clip(min=SWISH_ZERO)


def _in_8_bits() -> Any:
    from ai_edge_quantizer.qtyping import (
        ComputePrecision,
        OpQuantizationConfig,
        QuantGranularity,
        TensorQuantizationConfig,
        TFLOperationName,
    )
    from ai_edge_quantizer.recipe import AlgorithmName

    recipe = _everywhere(
        OpQuantizationConfig(
            activation_tensor_config=TensorQuantizationConfig(num_bits=8, symmetric=False),
            weight_tensor_config=TensorQuantizationConfig(
                num_bits=8, symmetric=True, granularity=QuantGranularity.CHANNELWISE
            ),
            compute_precision=ComputePrecision.INTEGER,
        ),
        AlgorithmName.MIN_MAX_UNIFORM_QUANT,
    )
    for name in NOT_LAYERS:
        recipe.add_quantization_config(TAIL, TFLOperationName[name], algorithm_key=AlgorithmName.NO_QUANTIZE)
    return recipe


def _weights_in_halves() -> Any:
    from ai_edge_quantizer.qtyping import (
        ComputePrecision,
        OpQuantizationConfig,
        TensorDataType,
        TensorQuantizationConfig,
    )
    from ai_edge_quantizer.recipe import AlgorithmName

    return _everywhere(
        OpQuantizationConfig(
            weight_tensor_config=TensorQuantizationConfig(num_bits=16, dtype=TensorDataType.FLOAT),
            compute_precision=ComputePrecision.FLOAT,
            explicit_dequantize=True,
        ),
        AlgorithmName.FLOAT_CASTING,
    )


def _everywhere(how: Any, algorithm: Any) -> Any:
    """A recipe that treats all operators alike."""
    from ai_edge_quantizer import recipe_manager
    from ai_edge_quantizer.qtyping import TFLOperationName

    manager = recipe_manager.RecipeManager()
    manager.add_quantization_config(".*", TFLOperationName.ALL_SUPPORTED, how, algorithm_key=algorithm)
    return manager


def _cores() -> int:
    return os.cpu_count() or 1
