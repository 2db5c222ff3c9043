"""Somebody else's project: the backbone in a Lightning task of its own, and a head of its own in our command line."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch
import yaml

from heads.structures import DetectionTargets
from tests.e2e.command import tiny_run, trident

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
CONFIG_DIR = f"--config-dir={EXAMPLES / 'foreign_project'}"


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))


@pytest.mark.filterwarnings("ignore")
def test_a_task_of_its_own_learns(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    locate = importlib.import_module("foreign_project.locate")
    monkeypatch.setattr(sys, "argv", ["locate", "--steps=40", "--size=64", "--width=0.1"])
    locate.main()
    words = capsys.readouterr().out.split()
    first, last = float(words[words.index("first,") - 2]), float(words[words.index("last") - 2])
    assert last < 0.7 * first


def test_squares_are_where_they_are_said_to_be() -> None:
    locate = importlib.import_module("foreign_project.locate")
    image, centre = locate.Squares(3, 64)[2]
    bright = (image.mean(dim=0) > 0.75).nonzero().float()
    assert bright.mean(dim=0).flip(0).add(0.5).div(64).tolist() == pytest.approx(centre.tolist(), abs=0.02)


def test_a_foreign_head_trains_and_evaluates(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert tiny_run(monkeypatch, tmp_path, "head=centre", CONFIG_DIR) == 0
    run = tmp_path / "run"
    figures = json.loads((run / "metrics.json").read_text())
    assert "map" in figures["val"]
    assert yaml.safe_load((run / "config.yaml").read_text())["head"]["taps"] == ["c3", "c4", "c5"]
    again = tmp_path / "again"
    words = ("mode=evaluate", f"checkpoint={run / 'model.safetensors'}", f"run_dir={again}", CONFIG_DIR)
    assert trident(monkeypatch, *words) == 2
    assert (
        "head=centre, somebody else's code ('foreign_project.centre_head.CentreHeadConfig'); a file may not start it"
        in (capsys.readouterr().err)
    )
    assert trident(monkeypatch, "head=centre", *words) == 0
    assert json.loads((again / "metrics.json").read_text()) == figures


def test_a_foreign_head_is_profiled(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ("mode=profile", "head=centre", "profile.passes=1", "backbone.width=0.1", f"run_dir={tmp_path / 'run'}")
    assert trident(monkeypatch, *words, CONFIG_DIR) == 0
    assert "head.tower" in capsys.readouterr().out


def test_a_foreign_head_gets_what_it_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert tiny_run(monkeypatch, tmp_path, "head=centre", "head.taps=[stage9]", CONFIG_DIR) == 2
    assert "head.taps=['stage9']: there is no stage9; there are stem, stage1" in capsys.readouterr().err


def test_the_foreign_head_learns_boxes_and_takes_no_object() -> None:
    centre_head = importlib.import_module("foreign_project.centre_head")
    specs = importlib.import_module("backbone").MobileNetV2Config(width=0.1).specs
    head = centre_head.CentreHeadConfig().build(specs, num_classes=3, image_size=64)
    features = {tap: torch.rand(2, specs[tap].channels, *[specs[tap].size(64)] * 2) for tap in head.taps}
    boxes = torch.zeros(2, 1, 4)
    boxes[0, 0] = torch.tensor([0.1, 0.2, 0.6, 0.7])
    labels = torch.tensor([[2], [-1]])
    targets = DetectionTargets(boxes, labels, torch.zeros(2, 1, dtype=torch.bool))
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    for _ in range(200):
        loss = torch.stack(list(head.loss(head(features), targets).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    best = head.predict(head(features), torch.tensor([[64, 128], [64, 128]]))[0]
    assert best.labels[0] == 2
    assert best.boxes_xyxy_px[0].tolist() == pytest.approx([12.8, 12.8, 76.8, 44.8], abs=8)
    nothing = DetectionTargets(boxes[1:], labels[1:], targets.crowd[1:])
    empty = head.loss(head({tap: feature[1:] for tap, feature in features.items()}), nothing)
    assert torch.isfinite(torch.stack(list(empty.values()))).all()
