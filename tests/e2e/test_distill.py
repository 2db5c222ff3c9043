"""distill=CHECKPOINT: a training that learns from another network, through the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file

from tests.e2e.command import tiny_run, trident

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_training_learns_from_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "teacher").mkdir()
    assert tiny_run(monkeypatch, tmp_path / "teacher", "task=classification", "seed=1") == 0
    checkpoint = tmp_path / "teacher" / "run" / "model.safetensors"
    words = ["task=classification", "backbone.width=0.2", "logger.every_steps=1"]
    for name, more in (("with", [f"distill={checkpoint}"]), ("without", [])):
        (tmp_path / name).mkdir()
        assert tiny_run(monkeypatch, tmp_path / name, *words, *more) == 0
        rows = (tmp_path / name / "run" / "csv" / "metrics.csv").read_text(encoding="utf-8")
        assert ("class_distill" in rows) is (name == "with")
    mine, other = (load_file(tmp_path / name / "run" / "model.safetensors") for name in ("with", "without"))
    assert mine.keys() == other.keys()
    assert not all(torch.equal(mine[name], other[name]) for name in mine)
    capsys.readouterr()
    assert trident(monkeypatch, "task=detection", f"distill={checkpoint}", "data.train_scenes=4") == 2
    assert f"distill={checkpoint}: has no head detection; it has classification" in capsys.readouterr().err
    assert trident(monkeypatch, "task=detection", "mode=profile", "distill=x") == 2
    assert "distill=x: needs mode=train" in capsys.readouterr().err
    assert trident(monkeypatch, "task=detection", "distill=nothing.safetensors", "data.train_scenes=4") == 2
    assert "nothing.safetensors" in capsys.readouterr().err
