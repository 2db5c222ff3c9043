"""Suppression inside an ONNX file, run by ONNX Runtime, against ours; several images at once against one each."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from backbone.build import build_backbone
from backbone.families.mobilenet_v2 import MobileNetV2Config
from heads.build import build_head
from heads.ssdlite.config import Clip, SSDLiteConfig
from heads.ssdlite.postprocess import detect
from tasks.config.export import Precision
from tasks.deploy.endings import Boxes
from tasks.deploy.graph import ExportGraph
from tasks.model import VisionModel
from tests.e2e.command import TINY, tiny_run, trident

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("onnx", reason="the extra onnx is not installed")
ort = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")
SIZE = 64


def detector(clip: Clip, candidates: int | None) -> VisionModel:
    torch.manual_seed(0)
    config = MobileNetV2Config(width=0.1)
    head = build_head(
        SSDLiteConfig(clip=clip, max_detections=20, score_threshold=0.05, candidates=candidates),
        config.specs, num_classes=3, image_size=SIZE,
    )  # fmt: skip
    for name, parameter in head.named_parameters():
        parameter.data.normal_(0, 0.5 if name.endswith("weight") else 0.1)  # boxes that overlap, scores that differ
    return VisionModel(build_backbone(config, list(head.taps)), {"things": head}).eval()


@pytest.mark.parametrize("clip", list(Clip))
@pytest.mark.parametrize("candidates", [None, 6, 10_000])
def test_it_keeps_what_ours_keeps(clip: Clip, candidates: int | None) -> None:
    from tasks.deploy.onnx_file import convert

    graph = ExportGraph(detector(clip, candidates), SIZE, few=True, dynamic=True).eval()
    session = ort.InferenceSession(convert(graph, Precision.fp32), providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_outputs()] == ["things.boxes", "things.scores", "things.labels"]
    images = np.random.default_rng(0).integers(0, 256, (5, SIZE, SIZE, 3), dtype=np.uint8)
    boxes, scores, labels = session.run(None, {"image": images})
    with torch.inference_mode():
        raw = graph(torch.from_numpy(images))
    ending = graph.endings["things"]
    assert isinstance(ending, Boxes)
    wanted = detect(
        *raw, torch.ones(5, 2, dtype=torch.int64), score_threshold=0.05, nms_iou=ending.settings["nms_iou"],
        max_detections=20, clip=clip, candidates=candidates,
    )  # fmt: skip
    assert any(len(one.scores) for one in wanted)
    assert candidates != 6 or all(len(one.scores) <= 18 for one in wanted)  # of three classes
    for row, one in enumerate(wanted):
        count = int((scores[row] > 0).sum())
        assert count == len(one.scores)
        np.testing.assert_allclose(scores[row, :count], one.scores, rtol=1e-4)
        np.testing.assert_allclose(boxes[row, :count], one.boxes_xyxy_px, atol=1e-4)
        assert labels[row, :count].tolist() == one.labels.tolist()
        for together, alone in zip(
            (boxes, scores, labels), session.run(None, {"image": images[row : row + 1]}), strict=True
        ):
            np.testing.assert_allclose(together[row : row + 1], alone, atol=1e-5)


def test_a_file_with_suppression_is_evaluated_as_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tiny_run(monkeypatch, tmp_path, "trainer.max_steps=8") == 0
    weights = f"checkpoint={tmp_path / 'run' / 'model.safetensors'}"
    data = [*(word for word in TINY if word.startswith("data.")), f"data.root={tmp_path / 'scenes'}"]
    export = ("mode=export", "task=detection", weights, *data, "export.compare=false", f"run_dir={tmp_path / 'out'}")
    assert trident(monkeypatch, *export, "export.end=detections", "export.batch=dynamic") == 0
    artifact = f"artifact={tmp_path / 'out' / 'model_fp32.onnx'}"
    found: list[Any] = []
    for number, model in enumerate((weights, artifact)):
        folder = tmp_path / f"evaluated_{number}"
        assert trident(monkeypatch, "mode=evaluate", "task=detection", model, *data, f"run_dir={folder}") == 0
        found.append(json.loads((folder / "metrics.json").read_text())["val"])
    assert found[1] == pytest.approx(found[0], abs=1e-3, nan_ok=True)
    capsys.readouterr()
    for words, said in (
        (("export=litert", "export.batch=dynamic"), "export.batch=dynamic: needs export=onnx, not litert"),
        (("export=web", "export.end=detections"), "export.end=detections: needs export=onnx, not web"),
    ):
        assert trident(monkeypatch, *export, *words) == 2
        assert said in capsys.readouterr().err
