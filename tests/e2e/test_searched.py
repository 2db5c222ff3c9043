"""A network as a file: trained, evaluated and predicted with from the checkpoint alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from backbone.architecture_file import write
from backbone.families.mobilenet_v2 import mobilenet_v2
from backbone.units import with_unit
from tasks.checkpoints.model_file import read_header
from tests.e2e.command import TINY, trident

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

SMALL = [word for word in TINY if not word.startswith("backbone.width")]


def test_a_network_travels_in_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "architecture.yaml"
    write(path, with_unit(mobilenet_v2(0.1), "stage6.0.expanded", 24))
    run, words = tmp_path / "run", ["task=detection", *SMALL, f"data.root={tmp_path / 'scenes'}"]
    assert trident(
        monkeypatch, *words, "backbone=searched", f"backbone.architecture={path}", f"run_dir={run}"
    ) == 0  # fmt: skip
    saved = read_header(str(run / "model.safetensors")).config["backbone"]["architecture"]
    assert saved == json.loads(path.read_text(encoding="utf-8"))
    path.unlink()
    checkpoint = f"checkpoint={run / 'model.safetensors'}"
    assert trident(
        monkeypatch, "mode=evaluate", checkpoint, f"data.root={tmp_path / 'scenes'}", f"run_dir={tmp_path / 'again'}"
    ) == 0  # fmt: skip
    capsys.readouterr()
    assert trident(monkeypatch, *words, "backbone=searched", f"backbone.architecture={path}") == 2
    assert "no such file; give the architecture.yaml of a search" in capsys.readouterr().err
    assert trident(monkeypatch, *words, "backbone=searched") == 2
    assert "give backbone.architecture=FILE" in capsys.readouterr().err
