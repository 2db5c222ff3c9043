"""8 bits in front of hard swish begin at -3, in every toolchain's file; below that it is 0.

The layer gives 0.1 x grey - 20: -20 .. 5.5 over all greys, of which -3 .. 5.5 matters, in 255 steps of 1/30.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.deploy.test_grid import needs

if TYPE_CHECKING:
    from pathlib import Path

STEP = 8.5 / 255
SIDE = 16
GREYS = [np.repeat(np.arange(SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE, 1), 3, axis=2)]

pytestmark = pytest.mark.filterwarnings("ignore")


class Swished(nn.Module):
    """What toolchains take for a graph: a layer, hard swish, another layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.second = nn.Conv2d(3, 3, 1), nn.Hardswish(), nn.Conv2d(3, 3, 1)
        self.endings: dict[str, Any] = {}
        self.names = ["output"]
        self.dynamic = False
        with torch.no_grad():
            for layer, factor, bias in ((self.first, 0.1, -20.0), (self.second, 1.0, 0.0)):
                layer.weight.copy_(factor * torch.eye(3)[:, :, None, None])
                layer.get_parameter("bias").fill_(bias)
        self.eval().requires_grad_(False)

    def example(self) -> Tensor:
        return torch.zeros(1, SIDE, SIDE, 3, dtype=torch.uint8)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return (self.second(self.act(self.first(image.float().permute(0, 3, 1, 2)))),)


def in_onnx(folder: Path) -> float:
    import onnx

    from tasks.deploy.onnx_file import quantize

    model = onnx.load_from_string(quantize(Swished(), GREYS))  # type: ignore[arg-type]
    assert not [node for node in model.graph.node if node.op_type == "Clip"], "it costs no operator"
    (swish,) = (node for node in model.graph.node if node.op_type == "HardSwish")
    (before,) = (node for node in model.graph.node if swish.input[0] in node.output)
    (step,) = (tensor for tensor in model.graph.initializer if tensor.name == before.input[1])
    return float(onnx.numpy_helper.to_array(step))


def in_litert(folder: Path) -> float:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    from tasks.deploy.litert_file import quantize

    (folder / "model.tflite").write_bytes(quantize(Swished(), GREYS))  # type: ignore[arg-type]
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(str(folder / "model.tflite"), experimental_op_resolver_type=plain)
    interpreter.allocate_tensors()
    (swish,) = (one for one in interpreter._get_ops_details() if one["op_name"] == "HARD_SWISH")
    tensors = {one["index"]: one for one in interpreter.get_tensor_details()}
    return float(tensors[swish["inputs"][0]]["quantization"][0])


def in_executorch(folder: Path) -> float:
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    from tasks.deploy.annotation import EightBits

    graph = Swished()
    prepared = prepare_pt2e(torch.export.export(graph, (graph.example(),)).module(), EightBits())
    prepared(torch.from_numpy(GREYS[0][None]))
    (swish,) = (node for node in convert_pt2e(prepared).graph.nodes if "hardswish" in str(node.target))
    return float(swish.args[0].args[1])


@pytest.mark.parametrize(
    "step_of",
    [
        pytest.param(in_onnx, marks=needs("onnx", "onnxscript", "onnxruntime")),
        pytest.param(in_litert, marks=needs("litert_torch", "ai_edge_quantizer", "ai_edge_litert")),
        pytest.param(in_executorch, marks=needs("executorch", "torchao")),
    ],
)
def test_steps_begin_where_hard_swish_does(step_of: Any, tmp_path: Path) -> None:
    assert step_of(tmp_path) == pytest.approx(STEP, rel=0.01)
