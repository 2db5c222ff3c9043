"""Weights in 8 bits of every toolchain's making are those that `round_weights` chose, to the last of them."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from tasks.deploy.graph import ExportGraph
from tasks.deploy.rounding import round_weights
from tests.commands.predict.models import predictor
from tests.data.builders import picture

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Channels = NDArray[Any]


def needs(*packages: str) -> pytest.MarkDecorator:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} not installed")


def of_onnx(graph: ExportGraph, images: Sequence[NDArray[np.uint8]], folder: Path) -> list[Channels]:
    import onnx

    from tasks.deploy.onnx_file import quantize

    model = onnx.load_from_string(quantize(graph, images))
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    given = [node.input for node in model.graph.node if node.op_type == "DequantizeLinear"]
    weights = [(tensors[whole], tensors[step]) for whole, step, *_ in given if whole in tensors]
    return [whole * step.reshape(-1, *[1] * (whole.ndim - 1)) for whole, step in weights if whole.dtype == np.int8]


def of_litert(graph: ExportGraph, images: Sequence[NDArray[np.uint8]], folder: Path) -> list[Channels]:
    from ai_edge_litert.interpreter import Interpreter

    from tasks.deploy.litert_file import quantize

    (folder / "model.tflite").write_bytes(quantize(graph, images))
    interpreter = Interpreter(model_path=str(folder / "model.tflite"))
    interpreter.allocate_tensors()
    found = []
    for told in interpreter.get_tensor_details():
        how = told["quantization_parameters"]
        if told["dtype"] == np.int8 and len(how["scales"]) > 1:
            whole = np.moveaxis(interpreter.get_tensor(told["index"]), how["quantized_dimension"], 0)
            found.append(whole * how["scales"].reshape(-1, *[1] * (whole.ndim - 1)))
    return found


def of_executorch(graph: ExportGraph, images: Sequence[NDArray[np.uint8]], folder: Path) -> list[Channels]:
    """Of the program that is lowered: in the file they are packed."""
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    from tasks.deploy.annotation import EightBits

    prepared = prepare_pt2e(torch.export.export(graph, (graph.example(),)).module(), EightBits())
    for image in images:
        prepared(torch.from_numpy(image[None]))
    program = convert_pt2e(prepared)
    nodes = [node for node in program.graph.nodes if "dequantize_per_channel" in str(node.target)]
    pairs = [[getattr(program, str(part.target)).numpy() for part in node.args[:2]] for node in nodes]
    return [whole * step.reshape(-1, *[1] * (whole.ndim - 1)) for whole, step in pairs]


def by_length(tensors: Iterable[Channels]) -> dict[int, Channels]:
    """Output channels (channels, weights) by their number of weights; both in an order that their values give.

    Those of zeros, with which the branches of residual blocks start, are left out: tools keep equal tensors once.
    """
    found: dict[int, list[Channels]] = {}
    for tensor in tensors:
        rows = np.sort(tensor.reshape(len(tensor), -1).astype(np.float64))
        found.setdefault(rows.shape[1], []).extend(row for row in rows if row.any())
    return {length: np.stack(sorted(rows, key=list)) for length, rows in found.items()}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "tool",
    [
        pytest.param(of_onnx, marks=needs("onnx", "onnxscript", "onnxruntime")),
        pytest.param(of_litert, marks=[needs("litert_torch", "ai_edge_quantizer"), pytest.mark.slow]),
        pytest.param(of_executorch, marks=[needs("executorch", "torchao"), pytest.mark.slow]),
    ],
)
@torch.no_grad()
def test_weights_are_those_that_were_chosen(tool: Any, tmp_path: Path) -> None:
    graph = ExportGraph(predictor("classification").model, 64, integers=True)
    images = [picture(64, 64, n) for n in range(2)]
    round_weights(graph, images)
    wanted = by_length(weight.numpy() for name, weight in graph.named_parameters() if weight.ndim > 1)
    assert np.abs(wanted[27]).max() < 0.03  # the first layer takes grey levels: its steps are small
    found = by_length(tool(graph, images, tmp_path))
    assert found.keys() == wanted.keys()
    for length, rows in wanted.items():
        np.testing.assert_allclose(found[length], rows, rtol=1e-5, atol=1e-9)
