"""VOC's masks, SBD's, and how both come from a server. Oracles: Pillow's palette, scipy's writer of .mat files."""

from __future__ import annotations

import hashlib
import io
import logging
import shutil
import tarfile
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from scipy.io import savemat

from backbone.errors import InputError
from tasks.data.build import build_splits
from tasks.data.config import VocConfig
from tasks.data.formats.voc.download import Archive, download_voc
from tasks.data.formats.voc.masks import VOC_CLASSES, VocSegmentation
from tasks.data.formats.voc.sbd import add_sbd, read_mat
from tests.data.builders import jpeg, picture, tree, voc_object, voc_xml
from tests.file_server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUIET = {"console": Console(file=io.StringIO()), "attempts": 1}
LISTS = "ImageSets/Segmentation"


def mask_image(values: object) -> Image.Image:
    """A palette image of these indices, in arbitrary colours."""
    indices = np.array(values, dtype=np.uint8)
    image = Image.frombytes("P", indices.shape[::-1], indices.tobytes())
    image.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
    return image


def write(root: Path, splits: dict[str, list[str]], values: object = ((0, 15, 20), (255, 1, 0))) -> Path:
    for folder in ("JPEGImages", "SegmentationClass", LISTS):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for split, names in splits.items():
        (root / LISTS / f"{split}.txt").write_text("".join(f"{name}\n" for name in names) + "\n")
        for name in names:
            mask = mask_image(values)
            mask.save(root / "SegmentationClass" / f"{name}.png")
            (root / "JPEGImages" / f"{name}.jpg").write_bytes(jpeg(picture(mask.height, mask.width)))
    return root


def write_mat(path: Path, values: object) -> None:
    """As SBD has them: a structure with the mask and more."""
    path.parent.mkdir(parents=True, exist_ok=True)
    contents = {"Segmentation": np.array(values, np.uint8), "CategoriesPresent": np.array([[1]], np.uint8)}
    savemat(path, {"GTcls": contents}, do_compression=True)


def test_masks_are_pillows_palette_indices(tmp_path: Path) -> None:
    root = write(tmp_path, {"train": ["b", "a"], "val": ["c"]})
    splits = build_splits(VocConfig(root=str(root)), "segmentation")
    assert (len(splits.train), len(splits.val), splits.test) == (2, 1, None)
    assert (splits.labels.names, splits.labels.ids) == (VOC_CLASSES, tuple(range(21)))
    assert splits.labels.names[15] == "person"
    assert [splits.train.path(index).name for index in range(2)] == ["b.jpg", "a.jpg"]
    sample = splits.train[1]
    with Image.open(root / "SegmentationClass" / "a.png") as opened:
        assert opened.mode == "P"
        np.testing.assert_array_equal(sample.mask, np.array(opened))
    assert sample.mask is not None
    assert sample.mask.tolist() == [[0, 15, 20], [255, 1, 0]]
    assert (sample.image.shape, sample.size, sample.image_id) == ((2, 3, 3), (2, 3), 1)


@pytest.mark.parametrize("below", ["", "VOC2012", "VOCdevkit/VOC2012", "VOCdevkit/VOC2007"])
def test_root_may_be_above(tmp_path: Path, below: str) -> None:
    write(tmp_path / below, {"train": ["a"], "val": ["b"]})
    assert len(build_splits(VocConfig(root=str(tmp_path)), "segmentation").train) == 1


def test_root_above_several(tmp_path: Path) -> None:
    for year in ("VOC2007", "VOC2012"):
        write(tmp_path / year, {"train": ["a"], "val": ["b"]})
    with pytest.raises(InputError, match=r"holds several data sets; name one of .*VOC2007, .*VOC2012 by data\.root="):
        build_splits(VocConfig(root=str(tmp_path)), "segmentation")


def test_boxes_are_found_below_too(tmp_path: Path) -> None:
    root = write(tmp_path / "VOCdevkit" / "VOC2012", {"train": ["a"]})
    (root / "ImageSets" / "Main").mkdir()
    (root / "Annotations").mkdir()
    for split in ("train", "val"):
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("a\n")
    (root / "Annotations" / "a.xml").write_text(voc_xml(voc_object("dog", 1, 1, 3, 2), width=3, height=2))
    assert len(build_splits(VocConfig(root=str(tmp_path)), "detection").train[0].labels) == 1


def test_other_classes(tmp_path: Path) -> None:
    root = write(tmp_path, {"train": ["a"], "val": ["a"]}, [[0, 1]])
    splits = build_splits(VocConfig(root=str(root), classes=["ground", "cell"]), "segmentation")
    assert splits.labels.names == ("ground", "cell")
    assert splits.val[0].mask.tolist() == [[0, 1]]
    with pytest.raises(InputError, match=r"a\.png: 1 pixels have the value 1; allowed are 0 \.\. 0 \(ground\) and 255"):
        VocSegmentation(root, "train", ["ground"])[0]


def test_a_test_split_needs_masks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write(tmp_path, {"train": ["a"], "val": ["b"], "test": ["c", "d"]})
    test = build_splits(VocConfig(root=str(root)), "segmentation").test
    assert test is not None
    assert len(test) == 2
    assert build_splits(VocConfig(root=str(root), test_split=None), "segmentation").test is None
    (root / "SegmentationClass" / "c.png").unlink()
    with pytest.raises(InputError, match=r"c\.png: this mask is listed in .*test\.txt but absent"):
        build_splits(VocConfig(root=str(root)), "segmentation")
    (root / "SegmentationClass" / "d.png").unlink()
    with caplog.at_level(logging.INFO):
        assert build_splits(VocConfig(root=str(root)), "segmentation").test is None
    assert "test.txt: none of its images has a mask; it is not used" in caplog.text


def test_size_and_colours_are_checked_on_reading(tmp_path: Path) -> None:
    root = write(tmp_path, {"train": ["a", "b"]})
    mask_image([[0, 1]]).save(root / "SegmentationClass" / "a.png")
    mask_image([[0, 1]]).convert("RGB").save(root / "SegmentationClass" / "b.png")
    data = VocSegmentation(root, "train")
    with pytest.raises(
        InputError, match=r"a\.jpg: is 3 x 2 pixels .* but annotated as 2 x 1 in .*SegmentationClass/a\.png"
    ):
        data[0]
    with pytest.raises(InputError, match=r"b\.png: is an image of mode RGB, but class indices are expected"):
        data[1]


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (f"{LISTS}/train.txt", r"train\.txt: there is no such file; the list of the split's images"),
        ("JPEGImages/a.jpg", r"a\.jpg: this image is listed in .*train\.txt but absent; add the file or remove"),
        ("SegmentationClass/a.png", r"a\.png: this mask is listed in .*train\.txt but absent; add the file or remove"),
        ("JPEGImages", r"JPEGImages: there is no such folder; the images should be"),
        ("SegmentationClass", r"SegmentationClass: there is no such folder; the masks of train"),
        ("", r"voc: there is no such folder; VOC's layout with .*: data\.root=FOLDER names .*data\.download=true"),
    ],
)
def test_missing_files_and_folders(tmp_path: Path, missing: str, message: str) -> None:
    root = write(tmp_path / "voc", {"train": ["a"]})
    (root / missing).rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=message):
        VocSegmentation(root, "train")


def test_empty_and_repeating_lists(tmp_path: Path) -> None:
    root = write(tmp_path, {"train": []})
    with pytest.raises(InputError, match=r"train\.txt: lists no image; choose another split"):
        VocSegmentation(root, "train")
    write(tmp_path, {"train": ["a", "a"]})
    with pytest.raises(InputError, match=r"train\.txt: image a occurs more than once"):
        VocSegmentation(root, "train")


def test_augmented_split_takes_masks_from_its_folder(tmp_path: Path) -> None:
    root = write(tmp_path, {"train": ["a"], "trainaug": ["a", "b"]}, [[0, 1]])
    with pytest.raises(InputError, match="SegmentationClassAug: there is no such folder; the masks of trainaug"):
        VocSegmentation(root, "trainaug")
    (root / "SegmentationClassAug").mkdir()
    Image.fromarray(np.array([[7, 7]], np.uint8)).save(root / "SegmentationClassAug" / "b.png")
    data = VocSegmentation(root, "trainaug")
    assert [data[index].mask.tolist() for index in range(2)] == [[[0, 1]], [[7, 7]]]
    assert data.mask_path(1).parent.name == "SegmentationClassAug"
    (root / "SegmentationClassAug" / "b.png").unlink()
    (root / "SegmentationClass" / "b.png").unlink()
    with pytest.raises(
        InputError, match=r"SegmentationClassAug/b\.png: this mask is listed in .*trainaug\.txt but absent"
    ):
        VocSegmentation(root, "trainaug")


def test_sbd_becomes_a_split(tmp_path: Path) -> None:
    """VOC's own masks stay, its val is not trained on, the rest is SBD's."""
    root = write(tmp_path / "voc", {"train": ["t"], "val": ["v"]}, [[0, 2]])
    for name in "vtxy":
        write_mat(tmp_path / "cls" / f"{name}.mat", [[9, 0]])
    for name in "xy":
        (root / "JPEGImages" / f"{name}.jpg").write_bytes(jpeg(picture(1, 2)))
    (root / ".SegmentationClassAug.unfinished").mkdir()
    add_sbd(root, tmp_path / "cls")
    data = VocSegmentation(root, "trainaug")
    assert [data.path(index).stem for index in range(len(data))] == ["t", "x", "y"]
    assert [data[index].mask.tolist() for index in range(3)] == [[[0, 2]], [[9, 0]], [[9, 0]]]
    before = tree(root)
    add_sbd(root, None)
    assert tree(root) == before


def test_list_of_somebody_elses_masks(tmp_path: Path) -> None:
    """The usual archive holds VOC's masks too, those of val among them."""
    root = write(tmp_path, {"train": ["t"], "val": ["v"]})
    (root / "SegmentationClassAug").mkdir()
    for name in "tvx":
        mask_image([[0, 1]]).save(root / "SegmentationClassAug" / f"{name}.png")
    add_sbd(root, None)
    assert (root / LISTS / "trainaug.txt").read_text() == "t\nx\n"


def test_broken_files_of_sbd(tmp_path: Path) -> None:
    (tmp_path / "a.mat").write_bytes(b"no mat file")
    savemat(tmp_path / "b.mat", {"other": [1]})
    savemat(tmp_path / "c.mat", {"GTcls": [1]})
    write_mat(tmp_path / "d.mat", np.arange(4000).reshape(50, 80) % 20)
    whole = (tmp_path / "d.mat").read_bytes()
    (tmp_path / "d.mat").write_bytes(whole[:200] + bytes(len(whole) - 200))
    savemat(tmp_path / "e.mat", {"GTcls": {"Segmentation": np.array([[0, 300]], np.uint16)}})
    savemat(tmp_path / "f.mat", {"GTcls": {"Segmentation": np.array([[0, 2.5]])}})
    savemat(tmp_path / "g.mat", {"GTcls": {"Segmentation": "text"}})
    for name, message in {
        "a": "is no whole MAT file with GTcls \\(it has no header of level 5\\)",
        "b": "is no whole MAT file with GTcls \\(it has no such variable\\)",
        "c": "has no mask",
        "d": "is no whole MAT file with GTcls",
        "e": "has class 300; SBD's are 0 .. 20",
        "f": "has class 2.5; SBD's are 0 .. 20",
        "g": "has no mask",
    }.items():
        with pytest.raises(InputError, match=rf"{name}\.mat: {message}.*remove SBD's folder and fetch it again"):
            read_mat(tmp_path / f"{name}.mat")
    root = write(tmp_path / "voc", {"train": ["t"], "val": ["v"]})
    with pytest.raises(InputError, match="nowhere: there is no such folder; SBD's masks should be"):
        add_sbd(root, tmp_path / "nowhere")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as server:
        yield server


def archived(server: Server, name: str, folder: Path, kind: str) -> Archive:
    """A tar archive of a folder, on the server and before it a mirror that does not have it."""
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode=f"w:{kind}") as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, path.name)
    data = body.getvalue()
    server.files[name] = data
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    return Archive((server.url(f"gone/{name}"), server.url(name)), len(data), md5)


def test_download(server: Server, tmp_path: Path) -> None:
    write(tmp_path / "made" / "VOCdevkit" / "VOC2012", {"train": ["t"], "val": ["v"], "more": ["x"]}, [[0, 2]])
    (tmp_path / "made" / "VOCdevkit" / "VOC2012" / "SegmentationClass" / "x.png").unlink()
    write_mat(tmp_path / "sbd" / "benchmark_RELEASE" / "dataset" / "cls" / "x.mat", [[3, 0]])
    archives = {
        "trainval": archived(server, "voc.tar", tmp_path / "made", ""),
        "sbd": archived(server, "sbd.tgz", tmp_path / "sbd", "gz"),
    }
    root = tmp_path / "data"
    assert download_voc(root, **archives, **QUIET) == ["voc.tar"]
    assert len(build_splits(VocConfig(root=str(root)), "segmentation").train) == 1
    server.cuts["sbd.tgz"] = [100]
    assert download_voc(root, augmented=True, **archives, **QUIET | {"attempts": 3}) == ["sbd.tgz"]
    assert ("sbd.tgz", "bytes=100-") in server.asked
    splits = build_splits(VocConfig(root=str(root), train_split="trainaug"), "segmentation")
    assert [splits.train[index].mask.tolist() for index in range(2)] == [[[0, 2]], [[3, 0]]]
    assert sorted(path.name for path in root.iterdir()) == ["VOCdevkit"]
    asked = len(server.asked)
    assert download_voc(root / "VOCdevkit", augmented=True, **archives, **QUIET) == []
    assert len(server.asked) == asked


def test_download_asked_for_by_the_configuration(tmp_path: Path) -> None:
    """A folder that is there is used as it is: nothing is fetched."""
    root = write(tmp_path, {"train": ["t"], "val": ["v"]})
    assert len(build_splits(VocConfig(root=str(root), download=True), "segmentation").val) == 1


def test_download_errors(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "other").write_text("")
    archive = archived(server, "voc.tar", tmp_path / "made", "")
    with pytest.raises(InputError, match=r"voc\.tar did not hold VOCdevkit/VOC2012; unpack VOC 2012 there by hand"):
        download_voc(tmp_path / "data", trainval=archive, **QUIET)
    with pytest.raises(InputError, match=r"voc\.tar failed: .*HTTP 404"):
        download_voc(tmp_path / "none", trainval=archive._replace(urls=archive.urls[:1]), **QUIET)
    with pytest.raises(InputError, match=r"expected md5 0{32}, found"):
        download_voc(tmp_path / "none", trainval=archive._replace(md5="0" * 32), **QUIET)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**9))
    with pytest.raises(InputError, match=r"the disk has 1\.00 GB free and 5\.42 GB are needed"):
        download_voc(tmp_path / "new", augmented=True)
