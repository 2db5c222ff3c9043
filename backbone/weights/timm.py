"""Names of timm's `mobilenetv1_*`, `mobilenetv2_*`, `mobilenetv3_*`, `tf_mobilenetv3_*`, `mobilenetv4_conv_*`.

`blocks.S.I` is our stage S + 1, block I; V2's 110d and 120d have more blocks. How a model was trained is not in the
names of its tensors: it is told by the name of the weights or of their file, as timm gives it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from backbone.architecture import Padding
from backbone.weights.sources import HALF, Weights, trained_in_pytorch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

ORIGIN = "timm"
STEM = {"conv_stem": "stem.conv", "bn1": "stem.norm"}
V4_ENDS = {
    "blocks.4.0.conv": "last.conv",
    "blocks.4.0.bn1": "last.norm",
    "conv_head": "hidden.0",
    "norm_head": "hidden.1",
}
FUSED = {
    "blocks.0.0.conv_exp": "stage1.0.project.conv",
    "blocks.0.0.bn1": "stage1.0.project.norm",
    "blocks.0.0.conv_pwl": "stage1.1.project.conv",
    "blocks.0.0.bn2": "stage1.1.project.norm",
}
"""A fused block is two here: its wide full convolution, and its projection."""
ENDS = {
    "mobilenet_v1": STEM,
    "mobilenet_v2": STEM | {"conv_head": "last.conv", "bn2": "last.norm"},
    "mobilenet_v3_large": STEM
    | {"blocks.6.0.conv": "last.conv", "blocks.6.0.bn1": "last.norm", "conv_head": "hidden.0"},
    "mobilenet_v4_small": STEM | V4_ENDS,
    "mobilenet_v4_medium": STEM | V4_ENDS | FUSED,
    "mobilenet_v3_small": STEM
    | {"blocks.5.0.conv": "last.conv", "blocks.5.0.bn1": "last.norm", "conv_head": "hidden.0"},
}
SEPARABLE = {
    "conv_dw": "depthwise.conv",
    "bn1": "depthwise.norm",
    "conv_pw": "project.conv",
    "bn2": "project.norm",
    "se.conv_reduce": "squeeze.reduce",
    "se.conv_expand": "squeeze.expand",
}
"""Layers of a block that does not expand: timm calls its projection `pw`."""
INVERTED = {
    "conv_pw": "expand.conv",
    "bn1": "expand.norm",
    "conv_dw": "depthwise.conv",
    "bn2": "depthwise.norm",
    "se.conv_reduce": "squeeze.reduce",
    "se.conv_expand": "squeeze.expand",
    "conv_pwl": "project.conv",
    "bn3": "project.norm",
}
UNIVERSAL = {
    f"{theirs}.{kind}": f"{ours}.{ours_kind}"
    for theirs, ours in {"dw_start": "start", "pw_exp": "expand", "dw_mid": "depthwise", "pw_proj": "project"}.items()
    for kind, ours_kind in {"conv": "conv", "bn": "norm"}.items()
}
V4_PARTS = UNIVERSAL | {"conv": "project.conv", "bn1": "project.norm"}
"""Layers of V4's universal block, and of its full convolutions."""
FAMILIES = {
    "blocks.6.0.conv.weight": "mobilenet_v3_large",
    "blocks.5.0.conv.weight": "mobilenet_v3_small",
    "blocks.0.0.conv_exp.weight": "mobilenet_v4_medium",
    "blocks.4.0.conv.weight": "mobilenet_v4_small",
    "blocks.1.0.conv_pwl.weight": "mobilenet_v2",
}
"""Networks by a tensor that only they have, of those that are left."""
TENSORFLOW = {"padding": Padding.tf_same, "bn_eps": 1e-3, "input_mean": HALF, "input_std": HALF}
TRAINED: dict[str, dict[str, Any]] = {
    "tf_mobilenetv3": TENSORFLOW,
    "ra4_e3600": {"input_mean": HALF, "input_std": HALF},
    "miil": {"input_mean": (0.0, 0.0, 0.0), "input_std": (1.0, 1.0, 1.0)},
}
"""What differs by a part of a name: models carried over from TensorFlow, and two recipes with scalings of their own."""


def recognises(names: Mapping[str, Tensor]) -> bool:
    second = ("blocks.1.0.conv_dw.weight", "blocks.1.0.conv.weight", "blocks.1.0.pw_exp.conv.weight")
    return "conv_stem.weight" in names and any(name in names for name in second)


def convert(source: str, tensors: dict[str, Tensor], header: Mapping[str, str]) -> Weights:
    family = _family(tensors)
    renamed = {rename(name, family): tensor for name, tensor in tensors.items()}
    if "hidden.0.weight" in renamed:
        renamed["hidden.0.weight"] = renamed["hidden.0.weight"].flatten(1)
    weights = trained_in_pytorch(source, ORIGIN, renamed, family=family)
    name = source.replace("\\", "/").rpartition("/")[2]
    for part, differs in TRAINED.items():
        if part in name:
            weights = replace(weights, **differs)
    return weights


def _family(names: Mapping[str, Tensor]) -> str:
    for name, family in FAMILIES.items():
        if name in names:
            return family
    return "mobilenet_v1"


def rename(name: str, family: str) -> str:
    """Our name of a tensor; a name without a counterpart stays."""
    module, _, tail = name.rpartition(".")
    if module in ENDS[family]:
        return f"{ENDS[family][module]}.{tail}"
    match module.split("."):
        case ["blocks", stage, block, *part] if stage.isdigit():
            parts = SEPARABLE if family == "mobilenet_v1" or stage == "0" else INVERTED
            parts = V4_PARTS if family.startswith("mobilenet_v4") else parts
            found = parts.get(".".join(part))
            return f"stage{int(stage) + 1}.{block}.{found}.{tail}" if found else name
    return name
