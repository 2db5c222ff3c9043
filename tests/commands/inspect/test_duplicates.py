"""Images that occur twice: in training and in evaluation, within a split, under two classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from tasks.commands.inspect.duplicates import Place, are_neighbours, find_groups, report_groups
from tasks.commands.inspect.findings import Severity
from tasks.commands.inspect.reading import Reading
from tasks.data.build import build_splits
from tasks.data.config import FolderConfig


def noise(seed: int, quality: int = 95) -> bytes:
    """An image of 64 coloured tiles."""
    tiles = np.random.default_rng(seed).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    image = np.repeat(np.repeat(tiles, 20, 0), 30, 1)
    data: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=quality)
    return data


def read(root: Path, files: dict[str, bytes]) -> dict[str, Reading]:
    """What inspection reads of the images of a folder, by their names without suffix."""
    for name, contents in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / f"{name}.jpg").write_bytes(contents)
    splits = build_splits(FolderConfig(root=str(root)), "classification")
    readings = {name: Reading(data, range(len(data))) for name, data in (("train", splits.train), ("val", splits.val))}
    for reading in readings.values():
        reading.read(frozenset(), 1, lambda done: None)
    return readings


def test_leaks_and_duplicates(tmp_path: Path) -> None:
    files = {
        "train/a/1": noise(1),
        "train/a/2": noise(2),
        "train/b/3": noise(2, 40),
        "train/b/40": noise(4),
        "val/a/5": noise(1),
        "val/b/6": noise(6),
        "val/b/7": noise(7),
        "val/b/8": noise(7),
    }
    readings = read(tmp_path, files)
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


@pytest.mark.parametrize(
    ("one", "other", "near"),
    [
        ("clip_0012", "clip_0013", True),
        ("clip_0012", "clip_0017", True),
        ("a1 frame9 b", "a1 frame10 b", True),
        ("clip_0012", "clip_0018", False),
        ("clip_0012", "clap_0013", False),
        ("1_x", "1_x", False),
        ("000000000139", "000000581921", False),
        ("cat", "cat", False),
    ],
)
def test_frames_of_a_video_are_known_by_their_numbers(one: str, other: str, near: bool) -> None:
    assert are_neighbours(Path("train", f"{one}.jpg"), Path("val", f"{other}.png")) is near


def test_frames_of_a_video_in_two_splits_are_a_warning_and_copies_an_error(tmp_path: Path) -> None:
    files = {
        "train/a/clip_0012": noise(1),
        "val/a/clip_0013": noise(1, 60),
        "train/a/clip_0500": noise(2),
        "val/a/clip_0501": noise(2),
        "train/a/x_1": noise(3),
        "val/a/y_2": noise(3, 60),
    }
    readings = read(tmp_path, files)
    findings = report_groups(find_groups(readings), readings)
    assert [(f.kind, f.severity, f.count) for f in findings] == [
        ("leak between train and val", Severity.error, 2),
        ("frames of a video in train and val", Severity.warning, 1),
    ]
    assert findings[1].cases == [f"{tmp_path}/train/a/clip_0012.jpg looks like {tmp_path}/val/a/clip_0013.jpg"]
    assert [" is byte for byte " in case for case in findings[0].cases] == [True, False]


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
