"""What a converter sees of MobileNetV3: hard swish and the gate of squeeze-and-excitation are one operator each."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from backbone import MobileNetV3Large, MobileNetV3Small


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("build", "swishes", "gates"), [(MobileNetV3Small, 1 + 2 * 8 + 1, 9), (MobileNetV3Large, 1 + 2 * 9 + 1, 8)]
)
def test_one_operator_each(build: type[MobileNetV3Small | MobileNetV3Large], swishes: int, gates: int) -> None:
    """As many as Tables 1 and 2 have, with the stem and the last layer; nothing else is multiplied or clamped."""
    program = torch.export.export(build(width=0.35).eval(), (torch.zeros(1, 3, 64, 64),))
    kinds = Counter(
        str(node.target).split(".")[1].rstrip("_") for node in program.graph.nodes if node.op == "call_function"
    )
    assert (kinds["hardswish"], kinds["hardsigmoid"], kinds["mul"]) == (swishes, gates, gates)
    assert not {"clamp", "hardtanh", "relu6", "div", "sigmoid"} & set(kinds)
