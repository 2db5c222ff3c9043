"""The main job through the command line, on built-in data."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml
from PIL import Image
from safetensors import safe_open

from backbone import MobileNetV2, load
from tests.e2e.command import tiny_run, trident

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FIGURES = {"map", "map_50", "map_75", "map_small", "map_medium", "map_large", "mar_1", "mar_10", "mar_100"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("detection")
    with pytest.MonkeyPatch.context() as patch:
        assert tiny_run(patch, folder) == 0
    return folder / "run"


def test_leaves_everything_in_the_run_folder(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    assert set(metrics) == {"val"}
    assert set(metrics["val"]) >= FIGURES
    results = json.loads((run / "predictions.json").read_text())
    assert set(results[0]) == {"image_id", "category_id", "bbox", "score"}
    with Image.open(run / "contact_sheet.png") as sheet:
        assert sheet.width > 500
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["backbone"]["padding"] == "symmetric"
    assert (run / "csv" / "metrics.csv").read_text().startswith("epoch")
    assert list((run / "tensorboard").glob("events.*"))
    assert "3/3" in (run / "run.log").read_text()


def test_checkpoint_says_what_it_is(run: Path) -> None:
    with safe_open(run / "model.safetensors", "pt") as content:
        header = content.metadata()
    assert json.loads(header["choices"]) == {
        "task": "detection",
        "backbone": "mobilenet_v2",
        "head": "ssdlite",
        "transform": "ssd",
        "data": "shapes",
    }
    assert len(json.loads(header["labels"])["detection"]["names"]) >= 3
    assert json.loads(header["config"])["backbone"]["input_mean"] == [0.5, 0.5, 0.5]
    assert json.loads(header["provenance"])["versions"]["torch"]


def test_checkpoint_alone_reproduces_the_figures(run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    again = tmp_path / "again"
    words = ("mode=evaluate", f"checkpoint={run / 'model.safetensors'}", f"run_dir={again}")
    assert trident(monkeypatch, *words) == 0
    assert json.loads((again / "metrics.json").read_text()) == json.loads((run / "metrics.json").read_text())
    assert (again / "predictions.json").read_text() == (run / "predictions.json").read_text()


def test_results_file_scores_the_same(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    truth = next((run.parent / "scenes").rglob("instances_val*.json"))
    scored = trident(
        monkeypatch,
        "mode=evaluate",
        f"predictions={run / 'predictions.json'}",
        "data=coco",
        f"data.annotations={truth}",
        f"run_dir={tmp_path / 'scored'}",
    )
    assert scored == 0
    assert "average precision" in capsys.readouterr().out
    scored_figures = json.loads((tmp_path / "scored" / "metrics.json").read_text())["val"]
    figures = json.loads((run / "metrics.json").read_text())["val"]
    assert scored_figures == {name: figures[name] for name in scored_figures}


def test_checkpoint_serves_as_backbone_weights(run: Path) -> None:
    report = load(str(run / "model.safetensors"), MobileNetV2(width=0.1))
    assert report.fresh == []
    assert report.origin == "trident"


def test_says_which_data_and_how_to_switch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert tiny_run(monkeypatch, tmp_path) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("data:")]
    assert "shapes" in lines[0]
    assert "data=coco data.root=" in lines[0]


def test_one_batch_can_be_learned_by_heart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    words = ("data.train_scenes=4", "trainer.max_steps=40", "optim.warmup_steps=5", "transform.crop=0")
    words = (*words, "transform.zoom_out=0", "transform.flip=0", "transform.photometric=false")
    assert tiny_run(monkeypatch, tmp_path, *words, "backbone.width=0.35", "logger.every_steps=1") == 0
    lines = (tmp_path / "run" / "csv" / "metrics.csv").read_text().splitlines()
    column = lines[0].split(",").index("train/loss")
    losses = [float(value) for line in lines[1:] if (value := line.split(",")[column])]
    assert losses[-1] < losses[0] / 4
