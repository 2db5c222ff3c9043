"""What toolchains and runtimes say of an operator that they lack. The texts are theirs, shortened."""

from __future__ import annotations

import pytest

from backbone.errors import InputError
from tasks.deploy.lacking import lacking, operators_named

TEXTS = [
    ("No ONNX function found for <OpOverload(op='x.odd', overload='default')>. Failure message: No ..", "x.odd"),
    ("INVALID_GRAPH : .. Error No Op registered for Reluu with domain_version of 20", "Reluu"),
    ("NOT_IMPLEMENTED : Could not find an implementation for Relu(14) node with name ''", "Relu"),
    ("Lowering not found: aten.linalg_inv_ex.default", "aten.linalg_inv_ex.default"),
    ("Encountered unresolved custom op: Odd.\nSee instructions: https://", "Odd"),
    ("Didn't find op for builtin opcode 'CONV_2D' version '9'. An older version ..", "CONV_2D"),
    ("Missing out variants: {'x::odd'}", "x::odd"),
    (
        "Operator torch._ops.aten.linalg_inv_ex.default is not in Core ATen opset (https://",
        "aten.linalg_inv_ex.default",
    ),
    ("Failed to load\n[method.cpp:822] Missing operator: [0] aten::odd.out\n[method.cpp:1128]", "aten::odd.out"),
]


@pytest.mark.parametrize(("text", "operator"), TEXTS)
def test_the_operator_is_found_in_what_they_say(text: str, operator: str) -> None:
    assert lacking(RuntimeError(text)) == operator


def test_it_may_be_said_by_what_an_error_came_from() -> None:
    error = RuntimeError("step 3/3 failed")
    error.__cause__ = KeyError("No Op registered for Odd with")
    with pytest.raises(InputError) as raised, operators_named("export=onnx", "onnx"):
        raise error
    assert str(raised.value) == (
        "export=onnx: the model uses the operator Odd, which onnx lacks; say another export=.., or build that part of"
        " the model without it"
    )


def test_other_errors_pass() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'x'"), operators_named("export=onnx", "onnx"):
        raise AttributeError("'Tool' object has no attribute 'x'")


def test_a_circle_of_causes_ends() -> None:
    one, other = ValueError("a"), ValueError("b")
    one.__cause__, other.__cause__ = other, one
    assert lacking(one) is None


@pytest.mark.filterwarnings("ignore")
def test_onnxruntime_says_so_of_a_file() -> None:
    ort = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "ab"]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Odd", ["a"], ["b"])], "g", values[:1], values[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    with pytest.raises(Exception, match="Odd") as raised:
        ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert lacking(raised.value) == "Odd"
