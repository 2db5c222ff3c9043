"""Any folder of images. The oracle is torchvision's ImageFolder, or the files that were written."""

from __future__ import annotations

import logging
import os
import pickle
import unicodedata
from typing import TYPE_CHECKING

import numpy as np
import pytest
from omegaconf import OmegaConf
from torchvision.datasets import ImageFolder

from backbone.errors import InputError
from tasks.data.build import build_splits
from tasks.data.config import FolderConfig, ImageNetConfig, ShardsConfig
from tasks.data.loading.sampling import TransformedData
from tasks.data.transforms.imagenet import CentreCrop, RandomCrop
from tests.data.builders import jpeg, picture

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.data.config import ImagesConfig
    from tasks.data.splits import DataSplits


def put(path: Path, data: bytes | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(jpeg(picture(20, 30)) if data is None else data)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three ants and two bees to train on, one of each to validate."""
    for name in ("train/bees/b.jpg", "train/ants/c.JPG", "train/ants/a.jpeg", "train/ants/more/b.jpg",
                 "train/bees/a.jpg", "val/bees/x.jpg", "val/ants/y.jpg"):  # fmt: skip
        put(tmp_path / name)
    return tmp_path


def build(root: Path, *, need_train: bool = True, **more: float) -> DataSplits:
    return build_splits(FolderConfig(root=str(root), **more), "classification", need_train=need_train)


def test_classes_and_files_are_torchvisions(root: Path) -> None:
    splits = build(root)
    theirs = ImageFolder(str(root / "train"))
    assert list(splits.labels.names) == theirs.classes == ["ants", "bees"]
    ours = [(str(splits.train.path(index)), int(label)) for index, label in enumerate(splits.train.classes())]
    assert sorted(ours) == sorted(theirs.samples)
    assert splits.test is None
    assert [len(splits.train), len(splits.val)] == [5, 2]


def test_a_sample(root: Path) -> None:
    sample = build(root).val[1]
    np.testing.assert_allclose(sample.image.astype(int), picture(20, 30), atol=8)
    assert (sample.image_id, sample.size, sample.class_index) == (1, (20, 30), 1)
    assert len(sample.labels) == 0


def test_positions_outside(root: Path) -> None:
    for index in (-1, 2):
        with pytest.raises(IndexError, match=rf"image {index}: must be in 0 \.\. 1"):
            build(root).val[index]


def test_a_test_split_is_used_if_it_is_there(root: Path) -> None:
    put(root / "test/bees/x.jpg")
    test = build(root).test
    assert test is not None
    assert test.classes().tolist() == [1]
    assert build_splits(FolderConfig(root=str(root), test_split=None), "classification").test is None


def test_a_class_may_lack_in_val(root: Path) -> None:
    (root / "val/ants/y.jpg").unlink()
    (root / "val/ants").rmdir()
    assert build(root).val.classes().tolist() == [1]


def test_only_val(root: Path) -> None:
    (root / "train").rename(root / "elsewhere")
    with pytest.raises(InputError, match=r"train: there is no such folder; a folder for each class should be.*data\."):
        build(root)
    splits = build(root, need_train=False)
    assert (len(splits.train), len(splits.val), splits.labels.names) == (0, 2, ("ants", "bees"))


def test_evaluation_counts_by_the_classes_of_train(root: Path) -> None:
    (root / "val/ants/y.jpg").unlink()
    (root / "val/ants").rmdir()
    assert build(root, need_train=False).val.classes().tolist() == [1]


def test_names_that_are_not_ascii(tmp_path: Path) -> None:
    for split, form in (("train", "NFC"), ("val", "NFD")):
        put(tmp_path / split / unicodedata.normalize(form, "Käfer") / "über 蝶.jpg")
        put(tmp_path / split / "蝶" / "a.jpg")
    splits = build(tmp_path)
    assert splits.labels.names == (unicodedata.normalize("NFC", "Käfer"), "蝶")
    assert splits.val[0].size == (20, 30)
    assert splits.train.path(0).name == "über 蝶.jpg"
    put(tmp_path / "train" / unicodedata.normalize("NFD", "Käfer") / "a.jpg")
    with pytest.raises(InputError, match="train: two folders differ only in how Unicode writes their name; put them"):
        build(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such names")
def test_names_that_are_no_unicode(root: Path) -> None:
    put(root / "val/ants" / os.fsdecode(b"caf\xe9.jpg"))
    assert build(root).val[0].size == (20, 30)
    put(root / "train" / os.fsdecode(b"caf\xe9") / "a.jpg")
    with pytest.raises(InputError, match="this folder's name is no UTF-8, so the class has no name; rename it"):
        build(root)


def test_empty_class_folder(root: Path) -> None:
    (root / "train/wasps").mkdir()
    with pytest.raises(InputError, match=r"wasps: has no image; add images of the class or remove the folder"):
        build(root)
    put(root / "train/wasps/notes.txt")
    with pytest.raises(InputError, match=r"wasps: has no image, only others such as .*notes\.txt; add"):
        build(root)


def test_class_that_train_lacks(root: Path) -> None:
    put(root / "val/wasps/a.jpg")
    with pytest.raises(InputError, match=r"val.wasps: this class is unknown: .*train has no folder.*; add it there or"):
        build(root)
    put(root / "val/zebras/a.jpg")
    with pytest.raises(InputError, match=r"val.wasps: this class and 1 more is unknown"):
        build(root)


def test_no_class_folder(root: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        put(root / "flat" / name)
    with pytest.raises(InputError, match=r"flat: has no class folder; images as train/CLASS/\*\.jpg .*: data\.root="):
        build_splits(FolderConfig(root=str(root), val_split="flat"), "classification")


def test_absent_root() -> None:
    with pytest.raises(InputError, match=r"data\.root is not set; give the folder of images as train/CLASS"):
        build_splits(FolderConfig(), "classification")


def test_other_files_are_counted(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("notes.txt", "list.csv", ".DS_Store", "Thumbs.db", "._c.jpg"):
        put(root / "train/ants" / name, b"")
    assert len(build(root).train) == 5
    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(messages) == 1
    assert "2 files are no images by their suffix and are left out; the first is" in messages[0]
    assert "list.csv" in messages[0]


@pytest.mark.parametrize("data", [b"", b"<html>not found</html>", jpeg(picture(64, 64))[:-300]])
@pytest.mark.parametrize("transform", [RandomCrop(32), CentreCrop(32, 32)])
def test_broken_files_are_named(root: Path, data: bytes, transform: RandomCrop | CentreCrop) -> None:
    put(root / "val/ants/a.jpg", data)
    with pytest.raises(
        InputError,
        match=r"val.ants.a\.jpg: (is broken|is an empty|broken JPEG).*; replace the file or take it out",
    ):
        TransformedData(build(root).val, transform)[0]


def test_file_that_went_away(root: Path) -> None:
    splits = build(root)
    (root / "val/ants/y.jpg").unlink()
    with pytest.raises(InputError, match=r"y\.jpg: cannot be read \(No such file"):
        splits.val[0]


def test_too_large_a_picture(root: Path) -> None:
    splits = build(root, max_megapixels=0.0005)
    with pytest.raises(InputError, match=r"y\.jpg: has 30 x 20 pixels, 0\.0006 megapixels, and data\.max_megapixels="):
        splits.val[0]


def test_encoded_pictures_are_decoded_by_the_transform(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    val = build(root).val
    data = TransformedData(val, RandomCrop(16))
    expected = RandomCrop(16)(val[0], 9).image
    monkeypatch.setattr(type(val), "__getitem__", None)
    np.testing.assert_array_equal(data[0, 9].image, expected)


def test_workers_get_a_small_copy(root: Path) -> None:
    for number in range(1000):
        put(root / f"val/ants/image_of_an_ant_{number:06d}.jpg", b"")
    assert len(pickle.dumps(build(root).val)) < 1000 * 60


@pytest.mark.parametrize("config", [FolderConfig, ImageNetConfig, ShardsConfig])
def test_omegaconf_takes_and_gives_them_back(config: type[ImagesConfig]) -> None:
    node = OmegaConf.structured(config)
    node.max_megapixels = 12
    node.root = "pictures"
    assert OmegaConf.to_object(node) == config(root="pictures", max_megapixels=12)
    with pytest.raises(AttributeError):
        config().unknown = 1


@pytest.mark.parametrize("limit", [0, -1, float("nan"), 179])
@pytest.mark.parametrize("config", [FolderConfig, ImageNetConfig, ShardsConfig])
def test_limits_out_of_range(config: type[ImagesConfig], limit: float) -> None:
    with pytest.raises(InputError, match=r"data\.max_megapixels=.*: must be above 0 and at most 178"):
        config(max_megapixels=limit)


@pytest.mark.parametrize(("config", "name"), [(FolderConfig, "folder"), (ImageNetConfig, "imagenet")])
def test_other_tasks_are_refused(config: type[ImagesConfig], name: str) -> None:
    with pytest.raises(InputError, match=f"task=detection data={name}: this data has labels for classification only"):
        build_splits(config(root="."), "detection")


def test_shards_have_no_masks() -> None:
    with pytest.raises(InputError, match="task=segmentation data=shards: this data has labels for"):
        build_splits(ShardsConfig(root="."), "segmentation")
