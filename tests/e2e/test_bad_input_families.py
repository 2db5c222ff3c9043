"""Networks, levels and weights that do not go together: one line, exit code 2, before anything is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torchvision.models import mobilenet_v3_small

from tests.e2e.command import TINY, trident

if TYPE_CHECKING:
    from pathlib import Path

SMALL = "backbone=mobilenet_v3_small"


@pytest.fixture(scope="module")
def reduced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """torchvision's small network with half a tail, as its detector has it."""
    path = tmp_path_factory.mktemp("weights") / "reduced.pth"
    torch.save(mobilenet_v3_small(reduced_tail=True).state_dict(), path)
    return path


@pytest.mark.parametrize(
    ("words", "messages"),
    [
        (
            ("backbone.weights=keras:v3_small_0.5", SMALL),
            ["weights keras:v3_small_0.5: no such name; nearest are", "keras:v3_small_0.75", "keras:v3_small_1.0"],
        ),
        (
            ("backbone.weights=FILE", SMALL, "backbone.width=0.75"),
            ["tensors do not fit a backbone of width 0.75", "with width=1 reduced_tail=detection"],
        ),
        (
            ("backbone.weights=FILE", SMALL, "backbone.width=1"),
            [
                "stage5.0.project.conv.weight is (48, 288, 1, 1), wanted (96, 288",
                "a backbone with width=1 reduced_tail=detection",
            ],
        ),
        (
            ("backbone.weights=FILE", SMALL, "backbone.width=1", "backbone.reduced_tail=segmentation"),
            ["stage5.0.expand.conv.weight is (288, 48, 1, 1), wanted (144, 48", "reduced_tail=detection"],
        ),
        (
            ("backbone.weights=FILE", SMALL, "backbone.h_swish_from=16"),
            ["backbone.h_swish_from: computes something else than backbone.weights=FILE were trained for"],
        ),
        (
            ("backbone.weights=FILE", "backbone.linear_bottleneck=false"),
            ["backbone.linear_bottleneck=false: computes something else than backbone.weights=FILE"],
        ),
        (
            (
                "backbone.weights=FILE",
                SMALL,
                "backbone.width=1",
                "backbone.reduced_tail=detection",
                "backbone.squeeze=false",
            ),
            ["has more blocks or layers than this backbone (stage1.0.squeeze.reduce.weight and"],
        ),
        (
            ("task=segmentation", "head=lraspp", "backbone=mobilenet_v1", "backbone.separable=false"),
            ["head.low_tap=c3.depthwise: the backbone has no such feature; it has stem, stage1,"],
        ),
        (
            ("task=classification", "backbone=mobilenet_v1", "head.tap=c6"),
            ["head.tap=c6: the backbone has no such feature; it has stem,"],
        ),
    ],
)
def test_refused(
    words: tuple[str, ...],
    messages: list[str],
    reduced: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tiny = [word for word in TINY if not word.startswith("backbone.width")]
    told = [word.replace("FILE", str(reduced)) for word in ("task=classification", *words)]
    told = told[1:] if any(word.startswith("task=") for word in words) else told
    assert trident(monkeypatch, *tiny, *told, f"data.root={tmp_path / 'scenes'}", f"run_dir={tmp_path / 'run'}") == 2
    error = capsys.readouterr().err.strip()
    assert len(error.splitlines()) == 1
    for message in messages:
        assert message.replace("FILE", str(reduced)) in error
    assert not (tmp_path / "run" / "model.safetensors").exists()
