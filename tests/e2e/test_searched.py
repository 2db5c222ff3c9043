"""A network as a file: trained, evaluated and predicted with from the checkpoint alone."""

from __future__ import annotations

import importlib.util
import json
from typing import TYPE_CHECKING

import pytest
import torch

from backbone.architecture_file import write
from backbone.families.mobilenet_v2 import mobilenet_v2
from backbone.families.searched import SearchedConfig
from backbone.mobilenet import MobileNet
from backbone.units import with_unit
from backbone.weights import load
from tasks.checkpoints.model_file import read_header
from tasks.config.search import BlocksConfig
from tasks.predict import load as load_predictor
from tasks.search.space import Space, Stage
from tests.e2e.command import TINY, trident

if TYPE_CHECKING:
    from pathlib import Path

    from backbone.architecture import Architecture

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


TOOLS = {"onnx": "onnxruntime", "executorch": "executorch", "litert": "litert_torch"}


def of_blocks() -> Architecture:
    """A network as a search over blocks finds it: kernels of 5 and squeeze-and-excitation in some stages."""
    base = mobilenet_v2(0.1)
    genome = tuple(
        Stage(5 if number % 2 else 3, 3 if number else None, number in (2, 5), 1.0, 1)
        for number in range(len(base.stages))
    )
    return Space(base, BlocksConfig()).architecture(genome)


def test_a_result_is_loaded_downstream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The backbone by itself, with the weights of the run, gives what the run's model gives."""
    path, run = tmp_path / "architecture.yaml", tmp_path / "run"
    write(path, of_blocks())
    words = ["task=classification", *SMALL, f"data.root={tmp_path / 'scenes'}", "backbone=searched"]
    assert trident(monkeypatch, *words, f"backbone.architecture={path}", f"run_dir={run}") == 0
    backbone = MobileNet(SearchedConfig(architecture=str(path), output_stride=16), ["last"])  # the built-in data's
    assert not load(str(run / "model.safetensors"), backbone).fresh
    theirs = load_predictor(str(run / "model.safetensors")).model.backbone.eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(backbone.eval()(images)["last"], theirs(images)["last"], rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("tool", TOOLS)
def test_a_result_is_exported(tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In 32 bits the runtime's metrics are PyTorch's; in 8 bits there is a smaller file that can be evaluated."""
    if importlib.util.find_spec(TOOLS[tool]) is None:
        pytest.skip(f"{TOOLS[tool]} is not installed")
    path, run = tmp_path / "architecture.yaml", tmp_path / "run"
    write(path, of_blocks())
    words = ["task=classification", *SMALL, f"data.root={tmp_path / 'scenes'}", "backbone=searched"]
    assert trident(monkeypatch, *words, f"backbone.architecture={path}", f"run_dir={run}") == 0
    words = ["mode=export", f"checkpoint={run / 'model.safetensors'}", f"run_dir={tmp_path / 'out'}", f"export={tool}"]
    words += ["export.precision=int8", "export.calibration_images=5", "export.passes=0"]
    assert trident(monkeypatch, *words) == 0
    rows = json.loads((tmp_path / "out" / "export.json").read_text(encoding="utf-8"))
    assert rows[1]["metrics"]["top1"] == pytest.approx(rows[0]["metrics"]["top1"], abs=1e-3)
    assert max(rows[1]["differences"].values()) < 1e-3
    assert rows[2]["bytes"] < rows[1]["bytes"]
