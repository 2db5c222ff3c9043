"""Classification through the command line."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from torchvision.transforms.v2 import functional as F

from tests.e2e.command import TINY, tiny_run, trident

if TYPE_CHECKING:
    from pathlib import Path


def test_trains_evaluates_and_leaves_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tiny_run(monkeypatch, tmp_path, "task=classification", "transform.mixup=0.2", "transform.cutmix=1.0") == 0
    run = tmp_path / "run"
    metrics = json.loads((run / "metrics.json").read_text())["val"]
    assert {"top1", "top5", "calibration_error", "top1/circle"} <= set(metrics)
    rows = list(csv.reader((run / "predictions.csv").read_text(encoding="utf-8").splitlines()))
    assert rows[0][:4] == ["image", "truth", "class_1", "p_1"]
    assert len(rows) == 1 + 5
    confusion = list(csv.reader((run / "confusion.csv").read_text(encoding="utf-8").splitlines()))
    assert sum(int(cell) for row in confusion[1:] for cell in row[1:]) == 5

    words = ("mode=evaluate", f"checkpoint={run / 'model.safetensors'}", f"run_dir={tmp_path / 'again'}")
    assert trident(monkeypatch, *words) == 0
    assert json.loads((tmp_path / "again/metrics.json").read_text())["val"] == metrics


def test_foreign_checkpoint_brings_its_classifier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """torchvision's module with random weights: its answers are those in `predictions.csv`."""
    torch.manual_seed(0)
    theirs = torchvision.models.mobilenet_v2(num_classes=5, width_mult=0.35).eval()
    save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    words = (
        "task=classification", "mode=evaluate", *TINY, "backbone.width=0.35", f"data.root={tmp_path / 'scenes'}",
        f"checkpoint={tmp_path / 'theirs.safetensors'}",
    )  # fmt: skip
    words = tuple(word for word in words if word != "backbone.width=0.1" and not word.startswith("transform."))
    assert trident(monkeypatch, *words, f"run_dir={tmp_path / 'run'}", "data.scene_size=96") == 0
    said = capfd.readouterr().out
    assert "images are looked at as torchvision's authors did: centre_crop, bilinear" in said
    assert "head classification: 2 tensors loaded" in said
    (path, *_), *_ = list(csv.reader((tmp_path / "run/predictions.csv").read_text(encoding="utf-8").splitlines()))[1:]
    answers = next(csv.DictReader((tmp_path / "run/predictions.csv").read_text(encoding="utf-8").splitlines()))
    with Image.open(path) as picture:
        image = F.pil_to_tensor(picture)
    image = F.center_crop(F.resize(image, [110], antialias=True), [96, 96])
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        scores = theirs(((image / 255 - mean) / std)[None]).softmax(dim=1)[0]
    assert float(answers["p_1"]) == pytest.approx(scores.max().item(), abs=5e-3)


def test_foreign_checkpoint_with_other_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    save_file(torchvision.models.mobilenet_v2(width_mult=0.1).state_dict(), tmp_path / "theirs.safetensors")
    words = ("task=classification", "mode=evaluate", *TINY, f"data.root={tmp_path / 'scenes'}")
    assert trident(monkeypatch, *words, f"checkpoint={tmp_path / 'theirs.safetensors'}") == 2
    said = capfd.readouterr().err
    assert "its head does not fit: classifier.weight is (1000, 1280), wanted (5, 1280)" in said
    words = ("task=detection", *words[1:-1], f"data.root={tmp_path / 'boxes'}")
    assert trident(monkeypatch, *words, f"checkpoint={tmp_path / 'theirs.safetensors'}") == 2
    assert "holds no weights for head detection" in capfd.readouterr().err
