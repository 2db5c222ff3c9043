"""Segmentation through the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from tasks.data.formats.shapes.writers import MASK_NAMES
from tests.e2e.command import TINY, tiny_run, trident

if TYPE_CHECKING:
    from pathlib import Path


def test_trains_evaluates_and_leaves_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tiny_run(monkeypatch, tmp_path, "task=segmentation") == 0
    run = tmp_path / "run"
    metrics = json.loads((run / "metrics.json").read_text())["val"]
    assert {"miou", "pixel_accuracy", "fw_iou", "miou/background"} <= set(metrics)
    masks = sorted((run / "predictions").glob("*.png"))
    assert len(masks) == 5
    right = known = 0
    for path in masks:
        with Image.open(path) as picture, Image.open(tmp_path / "scenes/SegmentationClass" / path.name) as truth:
            assert picture.mode == "P"
            found, wanted = np.asarray(picture), np.asarray(truth)
        assert found.max() < len(MASK_NAMES)
        right += int((found == wanted)[wanted != 255].sum())
        known += int((wanted != 255).sum())
    assert metrics["pixel_accuracy"] == pytest.approx(right / known)
    assert (run / "contact_sheet.png").is_file()

    again = tmp_path / "again"
    words = ("mode=evaluate", f"checkpoint={run / 'model.safetensors'}", f"run_dir={again}")
    assert trident(monkeypatch, *words) == 0
    assert json.loads((again / "metrics.json").read_text())["val"] == metrics


def test_several_scales(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    words = ("evaluation.multi_scale=true", "data.val_scenes=2", "trainer.max_steps=1")
    assert tiny_run(monkeypatch, tmp_path, "task=segmentation", *words) == 0
    assert json.loads((tmp_path / "run/metrics.json").read_text())["val"]["miou"] > 0
    capfd.readouterr()
    assert trident(monkeypatch, "task=detection", *TINY, "evaluation.multi_scale=true") == 2
    assert "evaluation.multi_scale=true: is for task=segmentation, not task=detection" in capfd.readouterr().err
