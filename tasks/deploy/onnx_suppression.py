"""Non-maximum suppression behind an ONNX graph, as `heads.ssdlite.postprocess.detect` does it.

ONNX's operator names the pairs of box and class that it keeps. Their scores go back to where they were among the scores
of all pairs, zeros elsewhere; the best `D` of these are the detections. So every output has one shape, and of equal
scores the earlier box and class comes first, as with us.

Shapes: N images, A default boxes, K classes, D detections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from heads.ssdlite.config import Clip

if TYPE_CHECKING:
    from collections.abc import Mapping


def suppress(model: Any, head: str, settings: Mapping[str, Any]) -> None:
    """Put `boxes` (N, D, 4), `scores` (N, D) and `labels` (N, D) in place of the outputs of a detection head.

    Args:
        model: an `onnx.ModelProto`; it is changed.
        settings: of `tasks.deploy.endings.Boxes`.
    """
    from onnx import TensorProto, helper

    graph = model.graph
    places = {output.name: number for number, output in enumerate(graph.output)}
    scores, boxes = f"{head}.scores", f"{head}.boxes"
    shape = [dim.dim_value for dim in graph.output[places[scores]].type.tensor_type.shape.dim]
    anchors, classes = shape[1], shape[2]
    images = graph.output[places[scores]].type.tensor_type.shape.dim[0]
    most = min(int(settings["detections"]), anchors * classes)
    for old in (scores, boxes):
        _rename(graph, old, f"{old}.all")
    build = _Builder(graph, head)
    all_scores, all_boxes = f"{scores}.all", f"{boxes}.all"
    by_class = build("Transpose", all_scores, perm=[0, 2, 1])
    if (candidates := settings.get("candidates")) is not None and candidates < anchors:
        by_class = _best_of_class(build, by_class, candidates)
    limits = build.ints([int(settings["detections"])]), build.floats(settings["nms_iou"])
    kept = build("NonMaxSuppression", all_boxes, by_class, *limits, build.floats(settings["score_threshold"]))
    inside = build("Clip", all_boxes, build.scalar(0.0), build.scalar(1.0))
    values = build("GatherND", by_class, kept)
    if settings.get("clip") == Clip.after.value:
        values = build("Mul", values, _seen(build, inside, kept))
    zeros = build("Mul", by_class, build.scalar(0.0))
    dense = build("Transpose", build("ScatterND", zeros, kept, values), perm=[0, 2, 1])
    flat = build("Reshape", dense, build.ints([0, anchors * classes]))
    _, best = build.best(flat, most, axis=1, into=scores)
    build("Mod", best, build.ints([classes]), into=f"{head}.labels")
    box = build("Unsqueeze", build("Div", best, build.ints([classes])), build.ints([2]))
    build("GatherND", inside, box, into=boxes, batch_dims=1)
    made = (
        (boxes, TensorProto.FLOAT, [most, 4]), (scores, TensorProto.FLOAT, [most]),
        (f"{head}.labels", TensorProto.INT64, [most]),
    )  # fmt: skip
    first = images.dim_param or images.dim_value
    others = [output for output in graph.output if output.name not in (all_scores, all_boxes)]
    at = min(places[scores], places[boxes])
    outputs = [helper.make_tensor_value_info(name, kind, [first, *rest]) for name, kind, rest in made]
    del graph.output[:]
    graph.output.extend([*others[:at], *outputs, *others[at:]])


def _best_of_class(build: _Builder, by_class: str, candidates: int) -> str:
    """The scores (N, K, A) of the best so many boxes of each class of an image, zeros elsewhere."""
    values, places = build.best(by_class, candidates, axis=2)
    zeros = build("Mul", by_class, build.scalar(0.0))
    return build("ScatterElements", zeros, places, values, axis=2)


def _seen(build: _Builder, inside: str, kept: str) -> str:
    """1 for pairs whose box shows something of the image, else 0."""
    place = build("Gather", kept, build.ints([0, 2]), axis=1)
    box = build("GatherND", inside, place)
    start, end = (build("Gather", box, build.ints(which), axis=1) for which in ([0, 1], [2, 3]))
    has_area = build("Cast", build("Greater", end, start), to=1)
    return build("ReduceMin", has_area, build.ints([1]), keepdims=0)


def _rename(graph: Any, old: str, new: str) -> None:
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == old:
                    names[place] = new
    for output in graph.output:
        if output.name == old:
            output.name = new


class _Builder:
    """Adds operators to a graph, one after the other."""

    def __init__(self, graph: Any, head: str) -> None:
        self._graph = graph
        self._prefix = f"{head}.suppression"
        self._count = 0

    def __call__(self, operator: str, *inputs: str, into: str | None = None, **attributes: Any) -> str:
        from onnx import helper

        name = into or self._name()
        node = helper.make_node(operator, list(inputs), [name], name=self._name(), **attributes)
        self._graph.node.append(node)
        return name

    def best(self, values: str, most: int, axis: int, into: str | None = None) -> tuple[str, str]:
        """Names of the best values along an axis, best first, and of where they are; of equal ones the earlier first.

        Args:
            into: name of the values.
        """
        from onnx import helper

        names = into or self._name(), self._name()
        inputs = [values, self.ints([most])]
        self._graph.node.append(helper.make_node("TopK", inputs, names, name=self._name(), axis=axis))
        return names

    def ints(self, values: list[int]) -> str:
        import numpy as np

        return self._constant(np.array(values, np.int64))

    def floats(self, value: float) -> str:
        import numpy as np

        return self._constant(np.array([value], np.float32))

    def scalar(self, value: float) -> str:
        import numpy as np

        return self._constant(np.array(value, np.float32))

    def _constant(self, array: Any) -> str:
        from onnx import numpy_helper

        name = self._name()
        self._graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def _name(self) -> str:
        self._count += 1
        return f"{self._prefix}.{self._count}"
