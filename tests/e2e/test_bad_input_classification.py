"""Folders of images as people have them, with what can be wrong in them, through the command line."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from tests.data.builders import jpeg, picture
from tests.e2e.command import trident

if TYPE_CHECKING:
    from pathlib import Path

WORDS = (
    *("task=classification", "backbone.width=0.1", "transform.image_size=32", "data.batch_size=4", "data.workers=0"),
    *("trainer.max_steps=2", "evaluation.drawn_images=3"),
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes with three training images and one validation image each."""
    for split, count in (("train", 3), ("val", 1)):
        for name in ("ants", "bees"):
            for number in range(count):
                put(tmp_path / "data" / split / name / f"{number}.jpg", jpeg(picture(40, 48, seed=number)))
    return tmp_path / "data"


def put(file: Path, data: bytes) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file


def run(monkeypatch: pytest.MonkeyPatch, root: Path, *words: str) -> int:
    data = () if any(word.startswith("data=") for word in words) else ("data=folder",)
    return trident(monkeypatch, *WORDS, *data, f"data.root={root}", f"run_dir={root.parent / 'run'}", *words)


def refused(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], root: Path, *words: str) -> str:
    """What is said on one line, when the command leaves with 2."""
    assert run(monkeypatch, root, *words) == 2
    said = capfd.readouterr().err
    assert "Traceback" not in said
    (line,) = [line for line in said.splitlines() if line.startswith("trident: ")]
    return line


def empty_png(width: int, height: int) -> bytes:
    """A header that claims so many pixels, and nothing behind it."""
    header = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    chunk = (13).to_bytes(4, "big") + header + zlib.crc32(header).to_bytes(4, "big")
    data = b"IDAT" + zlib.compress(b"")
    return (
        b"\x89PNG\r\n\x1a\n" + chunk + (len(data) - 4).to_bytes(4, "big") + data + zlib.crc32(data).to_bytes(4, "big")
    )


def test_an_empty_class_folder(root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    (root / "train" / "wasps").mkdir()
    said = refused(monkeypatch, capfd, root)
    assert str(root / "train" / "wasps") in said
    assert "no image" in said


def test_a_class_in_val_that_train_lacks(
    root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    put(root / "val" / "wasps" / "0.jpg", jpeg(picture(40, 48)))
    said = refused(monkeypatch, capfd, root)
    assert "wasps" in said
    assert "train" in said


@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_is_no_image(
    workers: int, root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    file = put(root / "train" / "ants" / "9.jpg", b"no image")
    assert str(file) in refused(monkeypatch, capfd, root, f"data.workers={workers}")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_truncated_jpeg(
    workers: int, root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    file = root / "train" / "bees" / "1.jpg"
    file.write_bytes(file.read_bytes()[: len(file.read_bytes()) // 2])
    said = refused(monkeypatch, capfd, root, f"data.workers={workers}")
    assert str(file) in said
    assert "truncated" in said or "cut short" in said or "broken" in said


def test_a_truncated_jpeg_of_val_is_named_too(
    root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    file = root / "val" / "bees" / "0.jpg"
    file.write_bytes(file.read_bytes()[: len(file.read_bytes()) // 2])
    assert str(file) in refused(monkeypatch, capfd, root)


def test_a_picture_of_one_pixel_is_an_ordinary_one(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for split in ("train", "val"):
        put(root / split / "ants" / "tiny.jpg", jpeg(picture(1, 1)))
    assert run(monkeypatch, root) == 0
    assert json.loads((root.parent / "run/metrics.json").read_text())["val"]["top1"] is not None


def test_too_many_pixels_are_refused_from_the_header(
    root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A file of some bytes that would take 300 MB."""
    file = put(root / "train" / "ants" / "huge.png", empty_png(10_000, 10_000))
    said = refused(monkeypatch, capfd, root)
    assert str(file) in said
    assert "10000 x 10000 pixels, 100 megapixels, and data.max_megapixels=90 are allowed" in said


def test_names_in_any_script(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for split in ("train", "val"):
        (root / split / "bees").rename(root / split / "пчёлы")
        put(root / split / "蟻" / "図 1 é.jpg", jpeg(picture(40, 48)))
    assert run(monkeypatch, root) == 0
    figures = json.loads((root.parent / "run/metrics.json").read_text(encoding="utf-8"))["val"]
    assert {"top1/ants", "top1/пчёлы", "top1/蟻"} <= set(figures)
    assert "図 1 é.jpg" in (root.parent / "run/predictions.csv").read_text(encoding="utf-8")
    with Image.open(root.parent / "run/contact_sheet.png") as sheet:
        assert np.asarray(sheet).size > 0


def test_a_wnid_that_is_there_twice(
    root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A list of 1000 classes in which one stands twice."""
    ids = [f"n{number:08d}" for number in range(999)] + ["n00000005"]
    index = {str(number): [wnid, f"name {number}"] for number, wnid in enumerate(ids)}
    for split in ("train", "val"):
        put(root.parent / "net" / split / "n00000005" / "0.jpg", jpeg(picture(40, 48)))
    put(root.parent / "net" / "imagenet_class_index.json", json.dumps(index).encode())
    said = refused(monkeypatch, capfd, root.parent / "net", "data=imagenet")
    assert "n00000005" in said
    assert "imagenet_class_index.json" in said
