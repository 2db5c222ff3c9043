"""Images that occur twice: in training and in evaluation, within a split, under two classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import simplejpeg

from tasks.commands.inspect.duplicates import Place, find_groups, report_groups
from tasks.commands.inspect.findings import Severity
from tasks.commands.inspect.reading import Reading
from tasks.data.build import build_splits
from tasks.data.config import FolderConfig

if TYPE_CHECKING:
    from pathlib import Path


def noise(seed: int, quality: int = 95) -> bytes:
    """An image of 64 coloured tiles."""
    tiles = np.random.default_rng(seed).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    image = np.repeat(np.repeat(tiles, 20, 0), 30, 1)
    data: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=quality)
    return data


def test_leaks_and_duplicates(tmp_path: Path) -> None:
    files = {
        "train/a/1": noise(1),
        "train/a/2": noise(2),
        "train/b/3": noise(2, 40),
        "train/b/4": noise(4),
        "val/a/5": noise(1),
        "val/b/6": noise(6),
        "val/b/7": noise(7),
        "val/b/8": noise(7),
    }
    for name, contents in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.jpg").write_bytes(contents)
    splits = build_splits(FolderConfig(root=str(tmp_path)), "classification")
    readings = {name: Reading(data, range(len(data))) for name, data in (("train", splits.train), ("val", splits.val))}
    for reading in readings.values():
        reading.read(frozenset(), 1, lambda done: None)
    groups = find_groups(readings)
    assert groups == [
        [Place("train", 0), Place("val", 0)],
        [Place("train", 1), Place("train", 2)],
        [Place("val", 2), Place("val", 3)],
    ]
    findings = report_groups(groups, readings)
    assert [(f.kind, f.severity, f.split, f.count) for f in findings] == [
        ("leak between train and val", Severity.error, "", 1),
        ("duplicate", Severity.warning, "train", 1),
        ("duplicate", Severity.warning, "val", 1),
        ("duplicate of two classes", Severity.warning, "", 1),
    ]
    assert findings[0].cases == [f"{tmp_path}/train/a/1.jpg is byte for byte {tmp_path}/val/a/5.jpg"]
    assert findings[1].cases == [f"{tmp_path}/train/a/2.jpg looks like {tmp_path}/train/b/3.jpg"]
    assert findings[3].text.endswith("(a, b): one image is of two classes; keep it in the right one")
    same = report_groups([[Place("train", 3), Place("val", 1)]], {"train": readings["train"], "val": readings["train"]})
    assert [f.kind for f in same] == ["leak between train and val", "duplicate of two classes"]


def test_a_file_that_is_listed_in_two_splits(tmp_path: Path) -> None:
    for name in ("train/a/1", "train/b/2"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.jpg").write_bytes(noise(int(name[-1])))
    data = build_splits(FolderConfig(root=str(tmp_path), val_split="train"), "classification").train
    readings = {name: Reading(data, range(2)) for name in ("train", "val")}
    for reading in readings.values():
        reading.read(frozenset(), 1, lambda done: None)
    findings = report_groups(find_groups(readings), readings)
    assert [(f.kind, f.count) for f in findings] == [("leak between train and val", 2)]
    assert findings[0].cases[0] == f"{tmp_path}/train/a/1.jpg is listed in both"
