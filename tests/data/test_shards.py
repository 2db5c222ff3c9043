"""Tar shards in WebDataset's layout. What is expected are the files that were put into them."""

from __future__ import annotations

import gzip
import io
import logging
import os
import tarfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from backbone.errors import InputError
from tasks.data.build import build_splits
from tasks.data.config import ShardsConfig
from tasks.data.formats.shards import index as tar_index
from tasks.data.loading.sampling import TransformedData
from tasks.data.transforms.imagenet import RandomCrop
from tests.data.builders import jpeg, picture

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tasks.data.splits import DataSplits

File = tuple[str, bytes]


def write(path: Path, files: Sequence[File], kind: int = tarfile.USTAR_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=kind) as tar:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def pair(number: int, label: int) -> list[File]:
    return [(f"{number:06d}.cls", str(label).encode()), (f"{number:06d}.jpg", jpeg(picture(20, 24 + number, number)))]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Five training images in two shards, one validation image."""
    write(tmp_path / "train-000.tar", [*pair(0, 2), *pair(1, 0), *pair(2, 1)])
    write(tmp_path / "train-001.tar", [*pair(3, 1), *pair(4, 0)])
    write(tmp_path / "val-000.tar", pair(5, 2))
    return tmp_path


def build(root: Path, *, need_train: bool = True, **more: list[str]) -> DataSplits:
    return build_splits(ShardsConfig(root=str(root), **more), "classification", need_train=need_train)


def build_val(root: Path, files: Sequence[File]) -> DataSplits:
    """No training data, and one shard of `files` to validate on."""
    write(root / "val.tar", files)
    return build(root, need_train=False)


def test_images_and_classes_in_their_order(root: Path) -> None:
    splits = build(root)
    assert splits.train.classes().tolist() == [2, 0, 1, 1, 0]
    assert splits.labels.names == ("0", "1", "2")
    assert splits.labels.ids == (0, 1, 2)
    for index in (4, 0, 3, 1, 2):
        sample = splits.train[index]
        np.testing.assert_allclose(sample.image.astype(int), picture(20, 24 + index, index), atol=12)
        assert (sample.image_id, sample.size) == (index, (20, 24 + index))
        assert sample.class_index == splits.train.classes()[index]
    assert splits.train.path(3) == root / "train-001.tar" / "000003.jpg"
    for index in (-1, 5):
        with pytest.raises(IndexError, match=rf"image {index}: must be in 0 \.\. 4"):
            splits.train.path(index)


def test_crops_are_those_of_the_decoded_image(root: Path) -> None:
    train = build(root).train
    crop = RandomCrop(16)
    np.testing.assert_array_equal(TransformedData(train, crop)[3, 77].image, crop(train[3], 77).image)


def test_json_states_the_class(tmp_path: Path) -> None:
    image = jpeg(picture(9, 9))
    write(tmp_path / "val.tar", [("a.json", b'{"label": 4, "width": 9}'), ("a.JPEG", image), ("b.jpg", image),
                                 ("b.json", b'{"cls": 1}')])  # fmt: skip
    assert build(tmp_path, need_train=False).val.classes().tolist() == [4, 1]


@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_foreign_names(tmp_path: Path, kind: int) -> None:
    name = "über/" + "蝶" * 60
    image = jpeg(picture(9, 9))
    files = [(f"{name}.cls", b"0"), (f"{name}.seg.png", b"?"), (f"{name}.jpg", image), ("x/.hidden.jpg", b""),
             ("__index__.json", b"{}")]  # fmt: skip
    write(tmp_path / "val.tar", files, kind)
    val = build(tmp_path, need_train=False).val
    assert len(val) == 1
    assert val.path(0) == tmp_path / "val.tar" / f"{name}.jpg"
    assert val[0].size == (9, 9)


def test_names_of_classes(root: Path) -> None:
    names = ["ant", "bee", "wasp"]
    assert build(root, classes=names).labels.names == tuple(names)
    (root / "classes.txt").write_text("ant\nbee\nwasp\n\n")
    assert build(root).labels.names == tuple(names)
    message = (
        r"train-000\.tar: 000000\.jpg is of class 2, and there are 2 classes, counted from 0; name all by data\.classes"
    )
    with pytest.raises(InputError, match=message):
        build(root, classes=names[:2])


def test_patterns(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = write(tmp_path_factory.mktemp("other") / "more.tar", pair(9, 0))
    splits = build(root, train_shards=["train-{000..001}.tar", "*-000.tar", str(other)])
    assert sorted(splits.train.classes().tolist()) == [0, 0, 0, 1, 1, 2, 2]


def test_no_shard_fits(root: Path) -> None:
    message = r"data\.train_shards=\['x\*\.tar'\]: no file under .* fits; give patterns such as train-\*\.tar"
    with pytest.raises(InputError, match=message):
        build(root, train_shards=["x*.tar"])
    assert len(build(root, train_shards=["x*.tar"], need_train=False).train) == 0
    with pytest.raises(InputError, match=r"data\.val_shards=\['x'\]: no file"):
        build(root, val_shards=["x"])


def test_a_shard_is_read_through_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build(root).train
    assert (root / "train-000.tar.index.npz").is_file()
    assert not [path for path in root.iterdir() if path.name.startswith(".")]
    with monkeypatch.context() as patch:
        patch.setattr(tar_index, "index_tar", None)
        second = build(root).train
    assert second.classes().tolist() == first.classes().tolist()
    np.testing.assert_array_equal(second[4].image, first[4].image)


def test_a_shard_that_changed_is_read_anew(root: Path) -> None:
    build(root)
    before = (root / "val-000.tar").stat()
    write(root / "val-000.tar", pair(5, 1))
    os.utime(root / "val-000.tar", ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert build(root).val.classes().tolist() == [1]


def test_a_broken_index_is_made_anew(root: Path) -> None:
    build(root)
    for data in (b"", b"PK\x03\x04 and no more", b"nothing"):
        (root / "val-000.tar.index.npz").write_bytes(data)
        assert build(root).val.classes().tolist() == [2]


@pytest.mark.parametrize(
    "forged",
    [
        {"classes": np.array([3_000_000_000])},
        {"classes": np.array([-1])},
        {"classes": np.array([0.5])},
        {"classes": np.array([0, 1])},
        {"offsets": np.array([-512])},
        {"lengths": np.array([1 << 40])},
        {"lengths": np.array([1 << 62]), "offsets": np.array([1 << 62])},
        {"names": np.array(["text"])},
        {"names": np.array(b"no list")},
        {"names": np.zeros(0, np.bytes_), "classes": np.zeros(0, np.int64)},
    ],
)
def test_an_index_from_elsewhere_that_does_not_fit_is_made_anew(root: Path, forged: dict[str, Any]) -> None:
    first = build(root).val
    file = root / "val-000.tar.index.npz"
    with np.load(file) as arrays:
        contents = dict(arrays) | forged
    np.savez(file, **contents)
    again = build(root).val
    assert again.classes().tolist() == first.classes().tolist() == [2]
    np.testing.assert_array_equal(again[0].image, first[0].image)


def test_names_that_are_no_text(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    files = [(f"{name}.cls", b"0"), (f"{name}.jpg", jpeg(picture(20, 24)))]
    with pytest.raises(InputError, match=r"val\.tar: the name 'caf\\udce9' is no plain text; write the shard again"):
        build_val(tmp_path, files)


def test_folder_that_cannot_be_written(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tar_index.np, "savez", refuse)
    assert len(build(root).train) == 5
    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(messages) == 3
    assert "index.npz: cannot be written (Permission denied); the shard is read through at every start" in messages[0]


def test_half_written_index_leaves_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tar_index.np, "savez", fail)
    with pytest.raises(KeyboardInterrupt):
        build(root)
    assert sorted(path.suffix for path in root.iterdir()) == [".tar"] * 3


def test_compressed_or_no_tar(tmp_path: Path) -> None:
    tar = write(tmp_path / "val.tar", pair(0, 0))
    for data in (gzip.compress(tar.read_bytes()), b"no tar at all" * 100, b""):
        tar.write_bytes(data)
        with pytest.raises(
            InputError, match=r"val\.tar: is no tar, or compressed, or cut off \(.*\); give whole, plain"
        ):
            build(tmp_path, need_train=False)


@pytest.mark.parametrize("kept", [512 + 512 + 512 + 100, 512 + 100])
def test_shard_that_is_cut_off(tmp_path: Path, kept: int) -> None:
    tar = write(tmp_path / "val.tar", pair(0, 0))
    tar.write_bytes(tar.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"val\.tar: (is no tar, or compressed, or cut off|is cut off in the sample)"):
        build(tmp_path, need_train=False)


def test_shard_that_changes_while_it_is_used(root: Path) -> None:
    val = build(root).val
    tar = root / "val-000.tar"
    tar.write_bytes(tar.read_bytes()[:1600])
    with pytest.raises(InputError, match=r"000005\.jpg: \d+ bytes are missing; the shard was cut off since"):
        val[0]
    tar.unlink()
    with pytest.raises(InputError, match=r"val-000\.tar: cannot be read \(No such file"):
        val[0]


def test_broken_image_is_named(tmp_path: Path) -> None:
    write(tmp_path / "val.tar", [("a.jpg", jpeg(picture(50, 50))[:-200]), ("a.cls", b"0")])
    with pytest.raises(InputError, match=r"val\.tar.a\.jpg: broken JPEG \(Premature end"):
        build(tmp_path, need_train=False).val[0]


def test_shard_without_samples(tmp_path: Path) -> None:
    message = r"val\.tar: holds no sample such as 000123\.jpg with 000123\.cls; remove the shard"
    with pytest.raises(InputError, match=message):
        build_val(tmp_path, [])


@pytest.mark.parametrize("names", [["a.cls"], ["a.jpg", "a.png", "a.cls"], ["a.cls", "b.cls", "a.jpg", "b.jpg"]])
def test_sample_without_exactly_one_image(tmp_path: Path, names: list[str]) -> None:
    message = (
        r"val\.tar: the sample a has [02] images, not one, in its files \(\.\w+.*\); the files of a sample must follow"
    )
    with pytest.raises(InputError, match=message):
        build_val(tmp_path, [(name, b"0") for name in names])


@pytest.mark.parametrize(
    "label",
    [("a.cls", b"-1"), ("a.cls", b"1.5"), ("a.cls", b"cat"), ("a.cls", b""), ("a.cls", b"\xff"), ("a.cls", b"true"),
     ("a.cls", b"3000000000"), ("a.cls", b"[" * 100_000), ("a.json", b'{"label": 1000000}'), ("a.json", b"{}"),
     ("a.json", b'{"label": "cat"}'), ("a.txt", b"0")],
)  # fmt: skip
def test_class_that_is_none(tmp_path: Path, label: File) -> None:
    message = (
        r"val\.tar: the class of the sample a is .*; a \.cls file with a number from 0 to 999999, or a \.json file .*"
        " must say it"
    )
    with pytest.raises(InputError, match=message):
        build_val(tmp_path, [("a.jpg", b"0"), label])
