"""Frozen graphs: what is read of one that is written node by node with TensorBoard's copy of the format."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.util.tensor_util import make_tensor_proto

from backbone.errors import InputError
from backbone.weights.tensorflow.graph import read_graph
from backbone.weights.tensorflow.slim import to_torch

if TYPE_CHECKING:
    from pathlib import Path

    import torch


def detector() -> GraphDef:
    """What surrounds a detector of the object detection API, without its network."""
    graph = GraphDef()

    def constant(name: str, value: Any) -> str:
        node = graph.node.add(name=name, op="Const")
        node.attr["value"].tensor.CopyFrom(make_tensor_proto(np.array(value)))
        return name

    def node(name: str, op: str, *inputs: str) -> Any:
        return graph.node.add(name=name, op=op, input=inputs)

    size = constant("Preprocessor/map/while/ResizeImage/stack", np.int32([300, 300]))
    node("Preprocessor/map/while/ResizeImage/ResizeBilinear", "ResizeBilinear", "image", size)
    constant("Preprocessor/mul/x", np.float32(2 / 255))
    constant("Preprocessor/sub/y", np.float32(1))
    node("net/FusedBatchNorm", "FusedBatchNorm", "x").attr["epsilon"].f = 0.001
    scales = (([0.1, 0.2, 0.2], [1, 2, 0.5]), ([0.35] * 3 + [0.4], [1, 3, 0.3333, 1]))
    for number, (scale, ratio) in enumerate(scales):
        first = constant(f"GridAnchorGenerator/truediv_{number}/x", np.float32(scale))
        node(
            f"GridAnchorGenerator/Sqrt_{number}", "Sqrt", constant(f"GridAnchorGenerator/r{number}", np.float32(ratio))
        )
        node(f"GridAnchorGenerator/truediv_{number}", "RealDiv", first, f"GridAnchorGenerator/Sqrt_{number}")
    node("Postprocessor/convert_scores", "Sigmoid", "logits")
    node("most", "Minimum", constant("most/x", np.int32(100)), "count")
    limits = constant("iou", np.float32(0.6)), constant("score", np.float32(1e-8))
    node("nms", "NonMaxSuppressionV3", "boxes", "scores", "most", *limits)
    return graph


def test_what_is_around_a_detector(tmp_path: Path) -> None:
    file = tmp_path / "detector.pb"
    file.write_bytes(detector().SerializeToString())
    tensors, header = read_graph(file)
    assert tensors["iou"].item() == pytest.approx(0.6)
    facts = json.loads(header["graph"])
    boxes = facts.pop("boxes")
    assert facts == {
        "image_size": 300,
        "interpolation": "legacy_bilinear",
        "score": "sigmoid",
        "nms_iou": 0.6,
        "score_threshold": 1e-8,
        "max_detections": 100,
    }
    np.testing.assert_allclose(boxes[1][1], [1, 3, 0.3333, 1], rtol=1e-6)
    assert header["bn_eps"] == "0.001"
    assert header["mean"] == header["std"] == "0.5,0.5,0.5"


def test_files_that_are_no_frozen_graphs(tmp_path: Path) -> None:
    file = tmp_path / "broken.pb"
    content = detector().SerializeToString()
    for broken in (b"no graph at all", content[:-3], content[:100]):
        file.write_bytes(broken)
        with pytest.raises(InputError, match=r"is no frozen graph, damaged or cut short|holds no values"):
            read_graph(file)
    file.write_bytes(b"")
    with pytest.raises(InputError, match=r"holds no values: it is a graph whose variables are in a checkpoint"):
        read_graph(file)


def test_order_of_filters(tmp_path: Path) -> None:
    """(height, width, in, out), and (height, width, in, multiplier) of depthwise ones."""
    import torch

    plain: torch.Tensor = torch.arange(24.0).view(1, 2, 3, 4)
    assert to_torch("a/weights", plain)[3, 2, 0, 1] == plain[0, 1, 2, 3]
    assert to_torch("a/depthwise_weights", plain[..., :1])[2, 0, 0, 1] == plain[0, 1, 2, 0]
