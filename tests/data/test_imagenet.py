"""ImageNet in the layouts that people have. The oracle is torchvision's reader of the development kit."""

from __future__ import annotations

import json
import logging
import tarfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.io import savemat
from torchvision.datasets.imagenet import load_meta_file, parse_devkit_archive

from backbone.errors import InputError
from tasks.data.build import build_splits
from tasks.data.config import ImageNetConfig
from tasks.data.files.boundary import Boundary
from tasks.data.formats.imagenet import list_val
from tasks.data.formats.imagenet_classes import read_classes, read_devkit
from tests.data.builders import jpeg, picture

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.data.splits import DataSplits

WNIDS = [f"n{1_000_000 + 7 * number:08d}" for number in range(1000)]
"""Sorted, as made up as the names."""
NAMES = [f"thing_{number}" for number in range(1000)]
KIT = "ILSVRC2012_devkit_t12/data"


def put(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(jpeg(picture(20, 30)))


def write_class_index(root: Path, wnids: list[str] = WNIDS, names: list[str] = NAMES) -> None:
    contents = {str(number): row for number, row in enumerate(zip(wnids, names, strict=True))}
    (root / "imagenet_class_index.json").write_text(json.dumps(contents))


def write_devkit(root: Path, truth: list[int]) -> np.ndarray[Any, Any]:
    """The kit with its own order of the classes, which is given back: place in WNIDS of each number from 1."""
    order = np.random.default_rng(0).permutation(1000)
    kind = [(name, object) for name in ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children")]
    rows = [
        (number, WNIDS[place], f"thing {place}, object {place}", "a thing", 0, np.zeros(0))
        for number, place in enumerate(order, start=1)
    ]
    rows += [(number, f"n{number:08d}", "a group", "of things", 2, np.array([1, 2])) for number in range(1001, 1010)]
    folder = root / KIT
    folder.mkdir(parents=True)
    savemat(folder / "meta.mat", {"synsets": np.array(rows, dtype=kind)[:, None]})
    (folder / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{number}\n" for number in truth))
    return order


def build(root: Path, *, need_train: bool = True, **more: str) -> DataSplits:
    return build_splits(ImageNetConfig(root=str(root), **more), "classification", need_train=need_train)


def test_index_is_the_place_among_all_ids(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    write_class_index(tmp_path)
    for place in (5, 999, 40):
        put(tmp_path / "train" / WNIDS[place] / "a.JPEG")
        put(tmp_path / "val" / WNIDS[place] / "b.JPEG")
    splits = build(tmp_path)
    assert splits.train.classes().tolist() == splits.val.classes().tolist() == [5, 40, 999]
    assert splits.labels.num_classes == 1000
    assert (splits.labels.names[40], splits.labels.ids[40]) == ("thing 40", 1_000_280)
    assert splits.val[2].class_index == 999
    assert splits.test is None
    assert "val: 3 of 1000 classes have images" in caplog.text


def test_only_val(tmp_path: Path) -> None:
    write_class_index(tmp_path)
    put(tmp_path / "val" / WNIDS[3] / "b.JPEG")
    with pytest.raises(InputError, match="train: there is no such folder"):
        build(tmp_path)
    splits = build(tmp_path, need_train=False)
    assert (len(splits.train), splits.val.classes().tolist()) == (0, [3])


def test_as_published(tmp_path: Path) -> None:
    order = write_devkit(tmp_path, [17, 1000, 1])
    for number in (3, 1, 2):
        put(tmp_path / "ILSVRC2012_img_val" / f"ILSVRC2012_val_{number:08d}.JPEG")
    put(tmp_path / "ILSVRC2012_img_train" / WNIDS[8] / "a.JPEG")
    splits = build(tmp_path)
    assert splits.train.classes().tolist() == [8]
    assert splits.val.classes().tolist() == [order[16], order[999], order[0]]
    assert splits.labels.names[8] == "thing 8"


def test_devkit_is_read_as_torchvision_reads_it(tmp_path: Path) -> None:
    write_devkit(tmp_path, [17, 1000, 1])
    archive = tmp_path / "ILSVRC2012_devkit_t12.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "ILSVRC2012_devkit_t12", "ILSVRC2012_devkit_t12")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torchvision.datasets.imagenet.ARCHIVE_META", {"devkit": (archive.name, None)})
        patch.setattr("torchvision.datasets.imagenet._verify_archive", lambda *_: None)
        parse_devkit_archive(tmp_path)
    words, _ = load_meta_file(tmp_path)
    ours = {synset.wnid: synset.name for synset in read_devkit(tmp_path / KIT / "meta.mat").values()}
    assert ours == {wnid: names[0] for wnid, names in words.items()}


def test_kaggle(tmp_path: Path) -> None:
    lines = [f"{wnid} {name.replace('_', ' ')}, other name\n" for wnid, name in zip(WNIDS, NAMES, strict=True)]
    (tmp_path / "LOC_synset_mapping.txt").write_text("".join(lines))
    (tmp_path / "LOC_val_solution.csv").write_text(
        f"ImageId,PredictionString\nILSVRC2012_val_00000002,{WNIDS[7]} 1 2 3 4 {WNIDS[7]} 5 6 7 8 \n"
        f"ILSVRC2012_val_00000001,{WNIDS[600]} 1 2 3 4 \n"
    )
    for number in (1, 2):
        put(tmp_path / "CLS-LOC" / "val" / f"ILSVRC2012_val_{number:08d}.JPEG")
    splits = build(tmp_path, need_train=False, val_split="CLS-LOC/val", train_split="CLS-LOC/train")
    assert splits.val.classes().tolist() == [600, 7]
    assert splits.labels.names[7] == "thing 7"
    put(tmp_path / "CLS-LOC" / "val" / "ILSVRC2012_val_00000003.JPEG")
    with pytest.raises(
        InputError, match=r"solution\.csv: has no class for the image ILSVRC2012_val_00000003.*; add it"
    ):
        build(tmp_path, need_train=False, val_split="CLS-LOC/val")


def test_a_thousand_folders_need_no_list(tmp_path: Path) -> None:
    synsets = read_classes(tmp_path, WNIDS[::-1])
    assert [synset.wnid for synset in synsets] == [synset.name for synset in synsets] == WNIDS


def test_few_folders_and_no_list(tmp_path: Path) -> None:
    put(tmp_path / "val" / WNIDS[3] / "b.JPEG")
    message = (
        "1 class folders, and nothing says which of the 1000 classes they are; put imagenet_class_index.json, .*folder"
    )
    with pytest.raises(InputError, match=message):
        build(tmp_path, need_train=False)


def test_shared_names_are_told_apart(tmp_path: Path) -> None:
    write_class_index(tmp_path, names=["crane", *NAMES[1:999], "crane"])
    put(tmp_path / "val" / WNIDS[0] / "b.JPEG")
    names = build(tmp_path, need_train=False).labels.names
    assert (names[0], names[1], names[999]) == (f"crane ({WNIDS[0]})", "thing 1", f"crane ({WNIDS[999]})")


def test_folder_that_is_no_class(tmp_path: Path) -> None:
    write_class_index(tmp_path)
    put(tmp_path / "val" / "n00000001" / "b.JPEG")
    with pytest.raises(
        InputError, match=r"val.n00000001: this class is unknown: it is none of ImageNet's 1000; add it"
    ):
        build(tmp_path, need_train=False)


@pytest.mark.parametrize(
    ("wnids", "message"),
    [
        ([*WNIDS[:999], WNIDS[4]], rf"class_index\.json: class {WNIDS[4]} occurs more than once"),
        ([*WNIDS[:999], "crane"], r"class_index\.json: 'crane' is no WordNet id such as n01440764; correct it"),
        (WNIDS[:998], r"class_index\.json: has 998 classes; ImageNet has 1000: complete it or say data=folder"),
    ],
)
def test_lists_that_are_wrong(tmp_path: Path, wnids: list[str], message: str) -> None:
    write_class_index(tmp_path, wnids, NAMES[: len(wnids)])
    put(tmp_path / "val" / WNIDS[0] / "b.JPEG")
    with pytest.raises(InputError, match=message):
        build(tmp_path, need_train=False)


@pytest.mark.parametrize(
    "text", ["", "[1, 2]", '{"0": "tench"}', '{"0": 3}', "[" * 100_000, '{"0": ["n01440764", null]}']
)
def test_class_index_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "imagenet_class_index.json").write_text(text)
    with pytest.raises(InputError, match=r'class_index\.json: must read \{"0": \["n01440764", "tench"\].*; correct it'):
        read_classes(tmp_path, [])


def test_lists_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "LOC_synset_mapping.txt").write_bytes(b"n01440764 t\xe8nch\n")
    with pytest.raises(InputError, match=r"LOC_synset_mapping\.txt: is no text in UTF-8 \(.*\); fetch it again"):
        read_classes(tmp_path, [])
    put(tmp_path / "val" / "ILSVRC2012_val_00000001.JPEG")
    for data, message in (
        (b"\xff", "is no text in UTF-8"),
        (b'"' + b"x" * 200_000, "is no table of images and classes"),
    ):
        (tmp_path / "LOC_val_solution.csv").write_bytes(data)
        with pytest.raises(InputError, match=rf"LOC_val_solution\.csv: {message}"):
            list_val(tmp_path, tmp_path / "val", Boundary(tmp_path, False))


@pytest.mark.parametrize("data", [b"", b"nothing of the kind" * 20])
def test_meta_that_cannot_be_read(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "meta.mat"
    file.write_bytes(data)
    with pytest.raises(InputError, match=r"meta\.mat: is no whole MAT file with synsets \(.*\); unpack the kit again"):
        read_devkit(file)
    savemat(file, {"other": np.zeros(3)})
    with pytest.raises(InputError, match=r"meta\.mat: is no whole MAT file with synsets \(it has no such variable\)"):
        read_devkit(file)


def test_flat_val_without_its_truth(tmp_path: Path) -> None:
    put(tmp_path / "val" / "ILSVRC2012_val_00000001.JPEG")
    with pytest.raises(
        InputError, match=r"val: the images are in no class folders, .* must be in .*truth\.txt or .*csv;"
    ):
        build(tmp_path, need_train=False)


def test_flat_val_with_half_a_kit(tmp_path: Path) -> None:
    write_devkit(tmp_path, [1])
    put(tmp_path / "val" / "ILSVRC2012_val_00000001.JPEG")
    (tmp_path / KIT / "meta.mat").unlink()
    with pytest.raises(
        InputError, match=r"meta\.mat: there is no such file; the development kit's table of classes should"
    ):
        build(tmp_path, need_train=False)


@pytest.mark.parametrize("name", ["ILSVRC2012_val_00000002.JPEG", "ILSVRC2012_val_00000000.JPEG", "cat.jpg"])
def test_flat_image_without_a_line(tmp_path: Path, name: str) -> None:
    write_devkit(tmp_path, [1])
    put(tmp_path / "val" / name)
    with pytest.raises(
        InputError, match=rf"truth\.txt: has 1 lines and none for the image {name}; names must be as they"
    ):
        build(tmp_path, need_train=False)


@pytest.mark.parametrize("number", [0, 1001, "x"])
def test_truth_that_names_no_class(tmp_path: Path, number: Any) -> None:
    write_devkit(tmp_path, [number])
    put(tmp_path / "val" / "ILSVRC2012_val_00000001.JPEG")
    with pytest.raises(
        InputError, match=r"truth\.txt: each line must be a class number of .*meta\.mat \(.*; unpack the"
    ):
        build(tmp_path, need_train=False)


def test_images_beside_class_folders(tmp_path: Path) -> None:
    write_class_index(tmp_path)
    put(tmp_path / "val" / WNIDS[0] / "a.JPEG")
    put(tmp_path / "val" / "stray.jpg")
    with pytest.raises(InputError, match=r"val: has class folders and 1 images beside them, such as stray\.jpg; their"):
        build(tmp_path, need_train=False)
