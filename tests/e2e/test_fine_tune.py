"""The recipe for one's own images, from training to predictions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file

from tasks.checkpoints.model_file import read_header
from tasks.training.resume.file import read
from tests.e2e.command import tiny_run, trident

if TYPE_CHECKING:
    from pathlib import Path


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
    losses = ("head.class_weights=auto", "head.dice=1", "head.lovasz=1", "head.skip=c2")
    words = ("task=segmentation", "data=shapes", "experiment=fine_tune", "backbone.freeze_at=null", *losses)
    assert tiny_run(monkeypatch, tmp_path, *words) == 0
    said = capsys.readouterr()
    assert "class weights: [" in said.out + said.err
    checkpoint = f"checkpoint={tmp_path / 'run' / 'model.safetensors'}"
    again = ("mode=evaluate", checkpoint, f"data.root={tmp_path / 'scenes'}", f"run_dir={tmp_path / 'again'}")
    assert trident(monkeypatch, *again, "data.workers=0") == 0
    assert metrics(tmp_path / "again")["val"] == metrics(tmp_path / "run")["val"]


def test_classes_are_balanced_and_probabilities_calibrated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("task=classification", "data=shapes", "data.balanced_sampling=1", "head.class_weights=auto")
    assert tiny_run(monkeypatch, tmp_path, *words, "head.calibrate=true", "trainer.validate_every=1") == 0
    printed = capsys.readouterr()
    said = printed.out + printed.err
    assert "class weights: [" in said
    assert "balanced sampling: an image is seen" in said
    run = tmp_path / "run"
    best, last = (read_header(str(run / name)).provenance for name in ("model.safetensors", "last.safetensors"))
    assert f"model.safetensors after step {best['step']}, the best evaluation; last.safetensors after step 3" in said
    assert last["step"] == 3
    for name, provenance in (("model.safetensors", best), ("last.safetensors", last)):
        fitted = provenance["calibration"]["classification"]
        again = ("mode=evaluate", f"checkpoint={run / name}", f"data.root={tmp_path / 'scenes'}", "data.workers=0")
        assert trident(monkeypatch, *again, f"run_dir={tmp_path / name}") == 0
        error = metrics(tmp_path / name)["val"]["calibration_error"]
        assert error == pytest.approx(fitted["error_after"], abs=1e-6)
    shown = f"logits of classification divided by {best['calibration']['classification']['temperature']:.3f}"
    assert shown in (run / "report.html").read_text()


def test_last_weights_are_those_of_the_last_checkpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert tiny_run(monkeypatch, tmp_path, "task=segmentation", "data=shapes", "optim.ema_decay=0.5") == 0
    checkpoint = read(tmp_path / "run" / "checkpoints" / "step_000003.ckpt")["state"]["state_dict"]
    last = load_file(tmp_path / "run" / "last.safetensors")
    assert last.keys() == {name.removeprefix("model.") for name in checkpoint}
    assert all(torch.equal(last[name.removeprefix("model.")], weight) for name, weight in checkpoint.items())


def test_several_heads_have_no_rare_classes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tiny_run(monkeypatch, tmp_path, "task=multitask", "data=shapes", "data.balanced_sampling=1") == 2
    assert "data.balanced_sampling=1: needs one head, which says what is rare" in capsys.readouterr().err
