"""ONNX: a file from a graph, in float or in 8 bits, and its runtime. See `toolchains.Tools`."""

from __future__ import annotations

import re
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbone.errors import InputError
from tasks.config.export import Precision
from tasks.deploy.endings import FewBoxes
from tasks.deploy.header import ENTRY, MIDDLE
from tasks.deploy.onnx_suppression import suppress
from tasks.deploy.quiet import quiet
from tasks.deploy.rounding import SWISH_ZERO

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from tasks.deploy.graph import ExportGraph
    from tasks.deploy.header import ArtifactHeader

    Pixels = NDArray[np.uint8]

LIBRARY = "onnxruntime"
OPSET = 20
INPUT = "image"
CENTRED = ("Cast", "Sub", "Transpose")
"""How a graph starts whose scaling is in its first layer."""
IN_ENDING = re.compile(r"^endings\.(.+?)\.head\.")
"""How weights of a head are called whose ending holds it, too."""
LAYERS = {"Conv", "Gemm", "MatMul"}
ACTIVATIONS = {"Clip", "Relu", "HardSwish", "HardSigmoid"}
QUANTIZED = [*sorted(LAYERS), "Add", "Clip", "Relu", "ReduceMean", "Concat", "Resize", "Expand"]
"""Operators that compute in 8 bits, where they lie between layers."""


def convert(graph: ExportGraph, precision: Precision) -> bytes:
    """See `Tools.convert`."""
    import torch

    if precision is Precision.fp16:
        graph = graph.halved()
    example = graph.example()
    shapes = ({0: torch.export.Dim("images")},) if graph.dynamic else None
    with quiet():
        program = torch.onnx.export(
            graph,
            (torch.cat([example, example]) if graph.dynamic else example,),
            dynamic_shapes=shapes,
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=graph.names,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    for name, ending in graph.endings.items():
        if isinstance(ending, FewBoxes):
            suppress(model, name, ending.settings)
    return _bare(model)


def quantize(graph: ExportGraph, images: Sequence[Pixels]) -> bytes:
    """See `Tools.quantize`.

    Weights are signed and have a scale for each output channel, activations are unsigned: a signed pair takes another,
    slower way through the runtime's kernels. What comes before the first and after the last layer stays in float.
    """
    import onnx
    from onnxruntime import quantization as q

    content = convert(graph, Precision.fp32)
    model = onnx.load_from_string(content)
    _cut_before_swish(model)
    levels = _levels(model)
    with tempfile.TemporaryDirectory() as folder, quiet():
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, source)
        q.quantize_static(
            source,
            target,
            _Reader(images),
            quant_format=q.QuantFormat.QDQ,
            per_channel=True,
            activation_type=q.QuantType.QUInt8,
            weight_type=q.QuantType.QInt8,
            op_types_to_quantize=QUANTIZED,
            nodes_to_exclude=_outside(model),
            extra_options=levels,
        )
        made = onnx.load(target)
    if levels:
        _take_levels(made)
    _leave_out_zeros(made)
    return _bare(made)


def with_header(content: bytes, header: ArtifactHeader) -> bytes:
    """The model with the header among its metadata."""
    import onnx

    model = onnx.load_from_string(content)
    onnx.helper.set_model_props(model, {ENTRY: header.to_json()})
    result: bytes = model.SerializeToString()
    return result


class Runtime:
    """onnxruntime on the CPU.

    Args:
        threads: None: as many as there are cores.
    """

    def __init__(self, path: str, names: Sequence[str], threads: int | None = None) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 3
        self.session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.names = list(names)

    def __call__(self, image: Pixels) -> list[NDArray[Any]]:
        """What comes out for an image (1, H, W, 3), in the order of `names`."""
        found: list[NDArray[Any]] = self.session.run(self.names, {INPUT: image})
        return found


def layer_outputs(content: bytes, names: Sequence[str], images: Sequence[Pixels]) -> Iterator[dict[str, NDArray[Any]]]:
    """See `layers.Probe`. Layers are known by the names of their weights."""
    import onnx
    from onnxruntime.quantization import qdq_loss_debug as debug

    ends = _ends(onnx.load_from_string(content), set(names))
    if ends.keys() != set(names):
        raise InputError(f"export.layers=true: layer {min(ends.keys() ^ set(names))} is not in the file")
    with tempfile.TemporaryDirectory() as folder:
        source, augmented = Path(folder) / "model.onnx", Path(folder) / "augmented.onnx"
        source.write_bytes(content)
        with quiet():
            debug.modify_model_output_intermediate_tensors(str(source), str(augmented))
        for image in images:
            with quiet():
                found = debug.collect_activations(str(augmented), [{INPUT: image[None]}])
            yield {name: found[tensor][0] for name, tensor in ends.items()}


def _ends(model: Any, names: set[str]) -> dict[str, str]:
    """By layer, the tensor behind its activation, and behind its rounding where there is one."""
    takers = defaultdict(list)
    for node in model.graph.node:
        for name in node.input:
            takers[name].append(node)
    ends = {}
    for node in model.graph.node:
        layer = node.input[1].removesuffix("_DequantizeLinear_Output") if node.op_type in LAYERS else ""
        layer = IN_ENDING.sub(r"heads.\1.", layer).removeprefix("model.").removesuffix(".weight")
        if layer not in names:
            continue
        tensor = node.output[0]
        while _goes_on(takers[tensor]):
            tensor = takers[tensor][0].output[0]
        ends[layer] = tensor
    return ends


def _goes_on(takers: Sequence[Any]) -> bool:
    kinds = [node.op_type for node in takers]
    if kinds in ([kind] for kind in ACTIVATIONS | {"QuantizeLinear"}):
        return True
    return bool(kinds) and set(kinds) == {"DequantizeLinear"}


class _Reader:
    """Images in the manner of onnxruntime's calibration."""

    def __init__(self, images: Sequence[Pixels]) -> None:
        self.images = iter(images)

    def get_next(self) -> dict[str, Pixels] | None:
        image = next(self.images, None)
        return None if image is None else {INPUT: image[None]}


def _outside(model: Any) -> list[str]:
    """Names of the nodes before all layers and behind all layers."""
    consumers, producer = defaultdict(list), {}
    for node in model.graph.node:
        for name in node.input:
            consumers[name].append(node)
        for name in node.output:
            producer[name] = node

    def reached(starts: list[Any], steps: Any) -> set[str]:
        found: set[str] = set()
        waiting = list(starts)
        while waiting:
            node = waiting.pop()
            for other in steps(node):
                if other.name not in found:
                    found.add(other.name)
                    waiting.append(other)
        return found

    layers = [node for node in model.graph.node if node.op_type in LAYERS]
    behind = reached(layers, lambda node: [other for name in node.output for other in consumers[name]])
    before = reached(layers, lambda node: [producer[name] for name in node.input if name in producer])
    between = (behind & before) | {node.name for node in layers}
    return [node.name for node in model.graph.node if node.name not in between]


def _entry(model: Any, length: int) -> list[Any]:
    """The first nodes after the input, each of which alone takes what the one before it gives."""
    takers = defaultdict(list)
    for node in model.graph.node:
        for name in node.input:
            takers[name].append(node)
    chain: list[Any] = []
    name = INPUT
    while len(chain) < length and len(takers[name]) == 1:
        chain += takers[name]
        name = chain[-1].output[0]
    return chain


def _levels(model: Any) -> dict[str, Any]:
    """Says to the quantiser that a step is a grey level, where the graph starts as `Centred` does."""
    import numpy as np
    from onnxruntime.quantization import QuantType

    entry = _entry(model, len(CENTRED))
    if tuple(node.op_type for node in entry) != CENTRED:
        return {}
    step = {"scale": np.array(1.0, np.float32), "zero_point": np.array(MIDDLE, np.uint8)}
    return {"TensorQuantOverrides": {entry[-1].output[0]: [{"quant_type": QuantType.QUInt8, **step}]}}


def _cut_before_swish(model: Any) -> None:
    """Cut what goes from a layer into hard swish where that is 0, which changes nothing: the range of its 8 bits then
    begins there, and the quantiser removes the cut again.
    """
    from onnx import TensorProto, helper

    producer = {name: node for node in model.graph.node for name in node.output}
    swishes = [
        node for node in model.graph.node if node.op_type == "HardSwish" and producer[node.input[0]].op_type in LAYERS
    ]
    if not swishes:
        return
    model.graph.initializer.append(helper.make_tensor("swish_zero", TensorProto.FLOAT, [], [SWISH_ZERO]))
    for swish in swishes:
        name = f"{swish.input[0]}_cut"
        cut = helper.make_node("Clip", [swish.input[0], "swish_zero"], [name], name=name)
        swish.input[0] = name
        model.graph.node.insert(list(model.graph.node).index(swish), cut)


def _take_levels(model: Any) -> None:
    """Let the first layer take the grey levels themselves, and drop the way through float, which says the same."""
    cast, centre, turn, quantize = _entry(model, 1 + len(CENTRED))
    assert quantize.op_type == "QuantizeLinear"
    turn.input[0] = INPUT
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if name == quantize.output[0]:
                node.input[place] = turn.output[0]
    for node in (cast, centre, quantize):
        model.graph.node.remove(node)


def _leave_out_zeros(model: Any) -> None:
    """Remove the zero points of biases, a zero for each channel: that is what none stands for."""
    from onnx import TensorProto

    wide = {tensor.name for tensor in model.graph.initializer if tensor.data_type == TensorProto.INT32}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and len(node.input) == 3 and node.input[2] in wide:
            del node.input[2]


def _bare(model: Any) -> bytes:
    """The file without what no runtime reads: constants that nothing takes, shapes between operators, and where each
    operator comes from, which tells the folders and lines of the machine that wrote it.
    """
    for node in model.graph.node:
        node.ClearField("metadata_props")
    for part in ("metadata_props", "value_info"):
        model.graph.ClearField(part)
    used = set(_taken(model.graph)) | {output.name for output in model.graph.output}
    for unused in [tensor for tensor in model.graph.initializer if tensor.name not in used]:
        model.graph.initializer.remove(unused)
    content: bytes = model.SerializeToString()
    return content


def _taken(graph: Any) -> Iterator[str]:
    """Names of what a graph's operators take, those within operators too."""
    for node in graph.node:
        yield from node.input
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _taken(inner)
