"""What is left out of an ONNX file, and what is not. onnx's own builders make the graphs, onnxruntime runs them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tasks.deploy.onnx_file import _bare, _leave_out_zeros

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
ort = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")

pytestmark = pytest.mark.filterwarnings("ignore")


def model_of(nodes: list[Any], constants: dict[str, Any]) -> Any:
    value = onnx.helper.make_tensor_value_info
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = onnx.helper.make_graph(
        nodes, "g", [value("x", onnx.TensorProto.FLOAT, [2])], [value("y", onnx.TensorProto.FLOAT, [2])], tensors
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)


def answer(content: bytes, x: list[float]) -> list[float]:
    session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    found: list[float] = session.run(None, {"x": np.array(x, np.float32)})[0].tolist()
    return found


def test_zero_points_of_biases_are_left_out() -> None:
    bias = {"b": np.array([3, -8], np.int32), "s": np.array([0.5, 0.25], np.float32), "z": np.zeros(2, np.int32)}
    nodes = [
        onnx.helper.make_node("DequantizeLinear", ["b", "s", "z"], ["d"], axis=0),
        onnx.helper.make_node("Add", ["x", "d"], ["y"]),
    ]
    model = model_of(nodes, bias)
    _leave_out_zeros(model)
    content = _bare(model)
    assert [tensor.name for tensor in onnx.load_from_string(content).graph.initializer] == ["b", "s"]
    assert answer(content, [1, 1]) == [2.5, -1]


def test_zero_points_of_activations_stay() -> None:
    given = {"q": np.array([130, 126], np.uint8), "s": np.array(0.5, np.float32), "z": np.array(128, np.uint8)}
    nodes = [
        onnx.helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        onnx.helper.make_node("Add", ["x", "d"], ["y"]),
    ]
    model = model_of(nodes, given)
    _leave_out_zeros(model)
    assert answer(_bare(model), [0, 0]) == [1, -1]


def test_where_operators_come_from_is_left_out_and_constants_of_branches_are_not() -> None:
    value = onnx.helper.make_tensor_value_info("o", onnx.TensorProto.FLOAT, [2])
    branches = {
        f"{side}_branch": onnx.helper.make_graph([onnx.helper.make_node("Add", ["x", name], ["o"])], side, [], [value])
        for side, name in (("then", "one"), ("else", "two"))
    }
    node = onnx.helper.make_node("If", ["told"], ["y"], **branches)
    node.metadata_props.add(key="stack_trace", value="/opt/someone/model.py, line 3")
    constants = {"told": np.array(True), "one": np.ones(2, np.float32), "two": np.full(2, 2, np.float32)}
    content = _bare(model_of([node], constants | {"unused": np.zeros(2, np.float32)}))
    assert b"someone" not in content
    assert b"unused" not in content
    assert answer(content, [1, 5]) == [2, 6]
