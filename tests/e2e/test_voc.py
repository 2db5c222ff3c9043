"""Fine-tuning on somebody's XML boxes, with weights and a test split, through the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from torchvision.models import mobilenet_v2

from tests.e2e.command import trident

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

OBJECT = (
    "<object><name>{name}</name><difficult>0</difficult>"
    "<bndbox><xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax><ymax>{3}</ymax></bndbox></object>"
)


def voc_folder(root: Path) -> Path:
    """Six images of a light square or disc on a dark ground, in VOC's layout."""
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    names = [f"image{index}" for index in range(6)]
    for index, name in enumerate(names):
        image = rng.integers(0, 60, (80, 100, 3), dtype=np.uint8)
        left, top = (int(value) for value in rng.integers(5, 40, 2))
        image[top : top + 30, left : left + 30] = 220
        cv2.imwrite(str(root / "JPEGImages" / f"{name}.jpg"), image)
        thing = OBJECT.format(left + 1, top + 1, left + 30, top + 30, name=("square", "disc")[index % 2])
        size = "<size><width>100</width><height>80</height><depth>3</depth></size>"
        (root / "Annotations" / f"{name}.xml").write_text(
            f"<annotation><filename>{name}.jpg</filename>{size}{thing}</annotation>"
        )
    for split, part in (("train", names[:4]), ("val", names[4:5]), ("test", names[5:])):
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(part))
    return root


def test_fine_tunes_and_reports_the_test_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "theirs.pth"
    torch.save(mobilenet_v2(width_mult=0.35).state_dict(), weights)
    run = tmp_path / "run"
    code = trident(
        monkeypatch,
        "data=voc",
        f"data.root={voc_folder(tmp_path / 'voc')}",
        "transform.image_size=64",
        "data.batch_size=4",
        "data.workers=0",
        "trainer.max_steps=2",
        "backbone.width=0.35",
        f"backbone.weights={weights}",
        f"run_dir={run}",
    )
    assert code == 0
    said = capsys.readouterr().out
    assert "260 tensors loaded, 0 left fresh, 2 not used" in said
    assert set(json.loads((run / "metrics.json").read_text())) == {"val", "test"}
    assert {"map/disc", "map/square"} <= set(json.loads((run / "metrics.json").read_text())["test"])
    assert (run / "contact_sheet_test.png").exists()

    weights.unlink()
    again = tmp_path / "again"
    words = ("mode=evaluate", f"checkpoint={run / 'model.safetensors'}", f"run_dir={again}")
    assert trident(monkeypatch, *words) == 2
    assert "was made with data=voc in a folder, and a file chooses no folder; say data.root=" in capsys.readouterr().err
    assert trident(monkeypatch, *words, f"data.root={tmp_path / 'voc'}") == 0
    assert (again / "metrics.json").read_text() == (run / "metrics.json").read_text()


def test_weights_of_another_width(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "theirs.pth"
    torch.save(mobilenet_v2(width_mult=0.5).state_dict(), weights)
    words = ("data=voc", f"data.root={voc_folder(tmp_path / 'voc')}", f"backbone.weights={weights}")
    assert trident(monkeypatch, *words, f"run_dir={tmp_path / 'run'}") == 2
    said = capsys.readouterr().err
    assert "theirs.pth" in said
    assert "0.5" in said
    assert not (tmp_path / "run").exists()
