"""What is left to ExecuTorch's own, slow operators beside XNNPACK."""

from __future__ import annotations

import re

import numpy as np
import pytest

from backbone import MobileNetV2
from heads.linear.config import LinearConfig
from heads.linear.head import Linear
from tasks.deploy.graph import ExportGraph
from tasks.model import VisionModel

pytest.importorskip("executorch", reason="the extra executorch is not installed")
pytest.importorskip("torchao")

SIZE = 32


def graph() -> ExportGraph:
    backbone = MobileNetV2(width=0.35, features=["last"])
    head = Linear(LinearConfig(), backbone.specs, num_classes=3)
    return ExportGraph(VisionModel(backbone.eval(), {"scene": head.eval()}), SIZE, integers=True)


@pytest.mark.filterwarnings("ignore")
def test_a_classifier_in_8_bits_is_one_delegate_behind_a_plain_copy() -> None:
    from tasks.deploy import executorch_file

    views = [np.full((SIZE, SIZE, 3), grey, np.uint8) for grey in (0, 128, 255)]
    content = executorch_file.quantize(graph(), views)
    names = set(re.findall(rb"(?:aten|dim_order_ops|quantized_decomposed)::\w+", content))
    assert names == {b"aten::_to_copy"}
    assert content.count(b"XnnpackBackend") == 1
