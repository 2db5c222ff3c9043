"""Where an exported program is observed and rounded to 8 bits.

PyTorch's quantiser for XNNPACK does not know ReLU6 (`hardtanh`) as a layer's activation: it rounds before it, over a
range of which most is cut away behind it. On MobileNetV2 that costs six of a hundred right answers. Here a layer ends
behind its activation.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torchao.quantization.pt2e.observer import MinMaxObserver, PerChannelMinMaxObserver
from torchao.quantization.pt2e.quantizer import (
    FixedQParamsQuantizationSpec,
    QuantizationAnnotation,
    QuantizationSpec,
    Quantizer,
    SharedQuantizationSpec,
)

from tasks.deploy.rounding import SWISH_ZERO

if TYPE_CHECKING:
    from torch.fx import GraphModule, Node

aten = torch.ops.aten
LAYERS = {aten.conv2d.default, aten.linear.default}
ACTIVATIONS = {
    aten.hardtanh.default, aten.hardtanh_.default, aten.relu.default, aten.relu_.default, aten.relu6.default,
    aten.relu6_.default, aten.clamp.default,
}  # fmt: skip
SWISHES = {aten.hardswish.default, aten.hardswish_.default}
SUMS = {aten.add.Tensor, aten.add_.Tensor}
PASSING = {aten.mean.dim, aten.permute.default, aten.expand.default, aten.cat.default, aten.pad.default,
           aten.constant_pad_nd.default, aten.flatten.using_ints}  # fmt: skip
"""What gives out the values that it gets, or lies between them: both sides have one scale."""
ENDINGS = "tasks.deploy.endings"

ACTIVATION = QuantizationSpec(
    dtype=torch.int8,
    quant_min=-128,
    quant_max=127,
    qscheme=torch.per_tensor_affine,
    observer_or_fake_quant_ctr=MinMaxObserver.with_args(eps=2**-12),
)
WEIGHT = QuantizationSpec(
    dtype=torch.int8,
    quant_min=-127,
    quant_max=127,
    qscheme=torch.per_channel_symmetric,
    ch_axis=0,
    observer_or_fake_quant_ctr=PerChannelMinMaxObserver.with_args(eps=2**-20),
)
"""The least step is far below PyTorch's 2**-12: those of the first layer, which takes grey levels, are smaller than
that, and weights would leave the grid that `rounding` put them on. Below it a bias of 32 bits runs out of range."""
LEVELS = FixedQParamsQuantizationSpec(
    dtype=torch.int8, scale=1.0, zero_point=0, quant_min=-128, quant_max=127, qscheme=torch.per_tensor_affine
)
"""Grey levels less the middle one."""


class _SwishRange(MinMaxObserver):  # type: ignore[misc]
    """Range of what goes into hard swish, which is 0 for all that is below -3: steps there would be wasted."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        super().forward(x.clamp_min(SWISH_ZERO))
        return x


BEFORE_SWISH = replace(ACTIVATION, observer_or_fake_quant_ctr=_SwishRange.with_args(eps=2**-12))


class EightBits(Quantizer):  # type: ignore[misc]
    """Signed 8 bits: weights with a scale for each output channel, activations with one and a zero point."""

    def annotate(self, model: GraphModule) -> GraphModule:
        for node in model.graph.nodes:
            if node.op != "call_function" or _behind_heads(node):
                continue
            if node.target in LAYERS:
                _annotate(node, _end_of(node), {0: _spec_of(node.args[0]), 1: WEIGHT})
            elif node.target in SUMS and all(hasattr(part, "op") for part in node.args[:2]):
                _annotate(node, _end_of(node), {0: ACTIVATION, 1: ACTIVATION})
        for node in model.graph.nodes:
            if node.op == "call_function" and node.target in PASSING and not _behind_heads(node):
                _pass_on(node)
        return model

    def validate(self, model: GraphModule) -> None:
        """Nothing to check: what is not annotated stays in float."""


def _annotate(first: Node, last: Node, inputs: dict[int, Any]) -> None:
    """Round what comes into `first` and what leaves `last`, and nothing between them."""
    wanted = {first.args[place]: spec for place, spec in inputs.items()}
    output = None if last is not first else BEFORE_SWISH if _before_swish(first) else ACTIVATION
    first.meta["quantization_annotation"] = QuantizationAnnotation(wanted, output, _annotated=True)
    if last is not first:
        last.meta["quantization_annotation"] = QuantizationAnnotation({}, ACTIVATION, _annotated=True)


def _before_swish(node: Node) -> bool:
    users = list(node.users)
    return len(users) == 1 and users[0].target in SWISHES


def _end_of(node: Node) -> Node:
    """The activation behind a layer, if that is all that looks at it; else the layer."""
    users = list(node.users)
    return users[0] if len(users) == 1 and users[0].target in ACTIVATIONS else node


def _spec_of(source: Any) -> Any:
    """How what comes into a layer is rounded: the image in its grey levels, all else by what was seen."""
    node = source
    while node.target in PASSING and not isinstance(node.args[0], list | tuple):
        node = node.args[0]
    is_image = node.target is aten.sub.Tensor and node.args[0].target in (aten.to.dtype, aten._to_copy.default)
    return LEVELS if is_image else ACTIVATION


def _pass_on(node: Node) -> None:
    """Between two roundings: with the scale of what comes in; of several, with that of the first."""
    parts = node.args[0] if isinstance(node.args[0], list | tuple) else [node.args[0]]
    first = parts[0]
    if not _rounded(first):
        return
    shared = SharedQuantizationSpec((first, node))
    wanted = {part: ACTIVATION if place == 0 else shared for place, part in enumerate(parts)}
    node.meta["quantization_annotation"] = QuantizationAnnotation(wanted, shared, _annotated=True)


def _rounded(node: Any) -> bool:
    annotation = node.meta.get("quantization_annotation")
    return annotation is not None and annotation.output_qspec is not None


def _behind_heads(node: Node) -> bool:
    stack = node.meta.get("nn_module_stack", {})
    return any(ENDINGS in str(kind) for _, kind in stack.values())
