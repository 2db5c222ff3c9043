"""Frozen graphs (`.pb`) of TensorFlow: the values of their constants, and what the graph does around the network.

A frozen graph holds the variables as constants. Of a detector's graph (object detection API) it is read how images are
resized and scaled, how scores are made of logits, which default boxes there are, and how boxes are suppressed.

Reference: tensorflow/models, research/object_detection, exporter.py and multiple_grid_anchor_generator.py.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch

from backbone.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

MAX_BYTES = 1 << 30
NORMS = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
SUPPRESSIONS = ("NonMaxSuppressionV2", "NonMaxSuppressionV3", "NonMaxSuppressionV4", "NonMaxSuppressionV5")
SCORES = {"Sigmoid": "sigmoid", "Softmax": "softmax"}
LEVELS = 255
"""Largest value of a pixel."""


def read_graph(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Constants by name, and what is known of the graph around them (see `Graph.facts`), as texts.

    Raises:
        InputError: tensorboard is not installed, or the file is damaged, too large or holds no constants.
    """
    try:
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
        from tensorboard.compat.proto.graph_pb2 import GraphDef  # type: ignore[import-untyped]
        from tensorboard.util.tensor_util import make_ndarray  # type: ignore[import-untyped]
    except ImportError as error:
        raise InputError(f"weights {file}: reading a graph needs tensorboard: pip install tensorboard") from error
    if file.stat().st_size > MAX_BYTES:
        raise InputError(f"weights {file}: has more than {MAX_BYTES >> 30} GiB; give a frozen graph")
    message = GraphDef()
    try:
        message.ParseFromString(file.read_bytes())
        constants = {
            node.name: make_ndarray(node.attr["value"].tensor)
            for node in message.node
            if node.op == "Const" and node.attr["value"].tensor.dtype in NUMBERS
        }
    except (DecodeError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"weights {file}: is no frozen graph, damaged or cut short ({error}); get it again") from error
    if not constants:
        raise InputError(
            f"weights {file}: holds no values: it is a graph whose variables are in a checkpoint; give that, or"
            " freeze it"
        )
    graph = Graph({node.name: node for node in message.node}, constants)
    tensors = {name: torch.from_numpy(value.copy()) for name, value in constants.items()}
    return tensors, graph.header()


NUMBERS = (1, 2, 3, 4, 5, 6, 9, 10, 19)
"""Types of constants that are read, by their numbers in types.proto."""


class Graph:
    """Nodes by name, with the values of those that are constants."""

    def __init__(self, nodes: Mapping[str, Any], constants: Mapping[str, Any]) -> None:
        self.nodes = nodes
        self.constants = constants

    def header(self) -> dict[str, str]:
        """What a header of weights says: `bn_eps`, `mean`, `std` where the graph tells, and `graph`: the rest."""
        found: dict[str, str] = {"graph": json.dumps(self.facts())}
        for node in self.nodes.values():
            if node.op in NORMS:
                found["bn_eps"] = f"{node.attr['epsilon'].f or 1e-4:.7g}"
                break
        if (scaling := self._scaling()) is not None:
            found |= {
                name: ",".join([f"{value:.7g}"] * 3) for name, value in zip(("mean", "std"), scaling, strict=True)
            }
        return found

    def facts(self) -> dict[str, Any]:
        """Facts of a detector's graph, of what is around the network; nothing is said of what it does not tell.

        `image_size`, `interpolation`; `score`; `score_threshold`, `nms_iou`, `max_detections`; `boxes`: by map, the
        scales and aspect ratios of the default boxes of a cell.
        """
        facts: dict[str, Any] = {}
        boxes = []
        for node in self.nodes.values():
            if node.op == "ResizeBilinear" and "Preprocessor" in node.name:
                size = self.constants.get(_source(node.input[1]))
                if size is not None and size.size == 2 and size[0] == size[1]:
                    facts["image_size"] = int(size[0])
                facts["interpolation"] = "point_bilinear" if node.attr["half_pixel_centers"].b else "legacy_bilinear"
            elif node.op in SUPPRESSIONS:
                facts |= self._suppression(node)
            elif node.name.endswith("Postprocessor/convert_scores"):
                facts["score"] = SCORES.get(node.op, node.op)
            elif node.op == "RealDiv" and "GridAnchorGenerator" in node.name:
                scales, root = (self.nodes.get(_source(name)) for name in node.input[:2])
                ratios = self.constants.get(_source(root.input[0])) if root is not None and root.op == "Sqrt" else None
                if ratios is not None and scales is not None and scales.name in self.constants:
                    boxes.append([self.constants[scales.name].tolist(), ratios.tolist()])
        if boxes:
            facts["boxes"] = boxes
        return facts

    def _suppression(self, node: Any) -> dict[str, Any]:
        most = self._constant_behind(node.input[2])
        found: dict[str, float | None] = {"max_detections": None if most is None else int(most)}
        for name, place in (("nms_iou", 3), ("score_threshold", 4)):
            value = self.constants.get(_source(node.input[place])) if len(node.input) > place else None
            found[name] = None if value is None else float(f"{float(value):.7g}")
        return {name: value for name, value in found.items() if value is not None}

    def _constant_behind(self, name: str) -> Any:
        """Value of a node, or of the constant that it takes the smaller of."""
        node = self.nodes.get(_source(name))
        if node is not None and node.op == "Minimum":
            return next((self.constants[_source(one)] for one in node.input if _source(one) in self.constants), None)
        return self.constants.get(_source(name))

    def _scaling(self) -> tuple[float, float] | None:
        """Mean and standard deviation of inputs in [0, 1], from x * factor - shift of a detector's preprocessing."""
        factor = next((self.constants[name] for name in self.constants if name.endswith("Preprocessor/mul/x")), None)
        shift = next((self.constants[name] for name in self.constants if name.endswith("Preprocessor/sub/y")), None)
        if factor is None or shift is None or factor.size != 1 or shift.size != 1 or not float(factor) > 0:
            return None
        scale = LEVELS * float(factor)
        return float(shift) / scale, 1 / scale


def _source(name: str) -> str:
    """Name of the node that an input comes from."""
    return name.lstrip("^").partition(":")[0]
