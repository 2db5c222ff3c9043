"""The recipe for one's own images, from training to predictions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.e2e.command import tiny_run, trident

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def metrics(folder: Path) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = json.loads((folder / "metrics.json").read_text())
    return found


def test_fitted_default_boxes_are_the_checkpoint_s(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("task=detection", "data=shapes", "experiment=fine_tune")
    assert tiny_run(monkeypatch, tmp_path, *words) == 0
    said = capsys.readouterr()
    assert "default boxes: scales [" in said.out + said.err
    checkpoint = f"checkpoint={tmp_path / 'run' / 'model.safetensors'}"
    again = ("mode=evaluate", checkpoint, f"data.root={tmp_path / 'scenes'}", "data.workers=0")
    assert trident(monkeypatch, *again, f"run_dir={tmp_path / 'again'}") == 0
    assert metrics(tmp_path / "again")["val"] == metrics(tmp_path / "run")["val"]
    both = (*again, "evaluation.flip=true", f"run_dir={tmp_path / 'both'}")
    assert trident(monkeypatch, *both) == 0
    assert metrics(tmp_path / "both")["val"].keys() == metrics(tmp_path / "run")["val"].keys()
    assert trident(monkeypatch, "mode=export", checkpoint, "evaluation.flip=true", f"run_dir={tmp_path / 'out'}") == 2
    assert "evaluation.flip=true: an exported file is one pass over an image; leave it out" in capsys.readouterr().err


def test_masks_weigh_the_classes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("task=segmentation", "data=shapes", "experiment=fine_tune", "head.class_weights=auto", "head.dice=1")
    assert tiny_run(monkeypatch, tmp_path, *words) == 0
    said = capsys.readouterr()
    assert "class weights: [" in said.out + said.err
    checkpoint = f"checkpoint={tmp_path / 'run' / 'model.safetensors'}"
    again = ("mode=evaluate", checkpoint, f"data.root={tmp_path / 'scenes'}", f"run_dir={tmp_path / 'again'}")
    assert trident(monkeypatch, *again, "data.workers=0") == 0
    assert metrics(tmp_path / "again")["val"] == metrics(tmp_path / "run")["val"]
