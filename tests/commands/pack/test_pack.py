"""mode=pack and what is read from its shards, against the single files that were packed."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tarfile
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from filelock import FileLock

from backbone.errors import InputError
from tasks.commands.pack import writing
from tasks.config.pack import PackConfig
from tasks.config.run import Task
from tasks.data.build import build_splits
from tasks.data.config import CocoConfig, DataConfig, FolderConfig, ShardsConfig
from tasks.data.loading.loaders import Loaders
from tasks.data.transforms.config import SSDTransformConfig
from tests.commands.pack.packing import packed
from tests.data.builders import jpeg, picture
from tests.e2e.command import trident

if TYPE_CHECKING:
    from tasks.data.sample import Sample


def same(ours: Sample, theirs: Sample) -> None:
    np.testing.assert_array_equal(ours.image, theirs.image)
    assert (ours.image_id, ours.size, ours.class_index) == (theirs.image_id, theirs.size, theirs.class_index)
    for name in ("boxes_xyxy_px", "labels", "crowd"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
        assert getattr(ours, name).dtype == getattr(theirs, name).dtype


def test_detection_is_that_of_single_files(coco: Path, tmp_path: Path) -> None:
    out = packed(tmp_path / "out", CocoConfig(root=str(coco)), shard_images=4)
    assert sorted(path.name for path in out.glob("*.tar")) == [
        "train-000000.tar", "train-000001.tar", "train-000002.tar", "train-000003.tar", "val-000000.tar",
    ]  # fmt: skip
    ours, theirs = (
        build_splits(ShardsConfig(root=str(out)), "detection"),
        build_splits(CocoConfig(root=str(coco)), "detection"),
    )
    assert ours.labels == theirs.labels
    for mine, reference in ((ours.train, theirs.train), (ours.val, theirs.val)):
        assert mine.ground_truth() == reference.ground_truth()
        for index in np.random.default_rng(0).permutation(len(reference)).tolist():
            same(mine[index], reference[index])
            same(mine.look(index), reference.look(index))
        for (boxes, labels), (their_boxes, their_labels) in zip(mine.boxes(), reference.boxes(), strict=True):
            np.testing.assert_array_equal(boxes, their_boxes)
            np.testing.assert_array_equal(labels, their_labels)


def test_classification_is_that_of_single_files(pictures: Path, tmp_path: Path) -> None:
    files = FolderConfig(root=str(pictures))
    out = packed(tmp_path / "out", files, Task.classification, shard_megabytes=0.009)
    ours, theirs = build_splits(ShardsConfig(root=str(out)), "classification"), build_splits(files, "classification")
    assert len(list(out.glob("train-*.tar"))) > 1
    assert ours.labels == theirs.labels
    assert ours.train.classes().tolist() == theirs.train.classes().tolist()
    for index in (6, 0, 3):
        same(ours.train[index], theirs.train[index])


def test_files_are_copied_byte_for_byte(pictures: Path, tmp_path: Path) -> None:
    out = packed(tmp_path / "out", FolderConfig(root=str(pictures)), Task.classification)
    with tarfile.open(out / "val-000000.tar") as tar:
        contents = {name: tar.extractfile(name).read() for name in tar.getnames()}  # type: ignore[union-attr]
    assert list(contents) == [
        "00000000-no_0_b.jpg", "00000000-no_0_b.cls", "00000001-no_2_b.jpg", "00000001-no_2_b.cls",
        "00000002-no_1_b.jpg", "00000002-no_1_b.cls",
    ]  # fmt: skip
    assert contents["00000002-no_1_b.jpg"] == (pictures / "val" / "bee" / "no 1.b.jpg").read_bytes()
    assert contents["00000002-no_1_b.cls"] == b"1"


def test_manifest_says_what_is_there(pictures: Path, tmp_path: Path) -> None:
    out = packed(tmp_path / "out", FolderConfig(root=str(pictures)), Task.classification, shard_images=3)
    manifest = json.loads((out / "train.manifest.json").read_text())
    assert (manifest["samples"], manifest["kind"], manifest["complete"]) == (7, "classification", True)
    assert [shard["samples"] for shard in manifest["shards"]] == [3, 3, 1]
    for shard in manifest["shards"]:
        data = (out / shard["name"]).read_bytes()
        assert (len(data), sha256(data).hexdigest()) == (shard["bytes"], shard["sha256"])


def test_shuffled_by_the_seed(pictures: Path, tmp_path: Path) -> None:
    files = FolderConfig(root=str(pictures))
    orders = []
    for name, shuffle in (("a", True), ("b", True), ("c", False)):
        out = packed(tmp_path / name, files, Task.classification, shuffle=shuffle)
        with tarfile.open(out / "train-000000.tar") as tar:
            orders.append([name[9:] for name in tar.getnames()])
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2])


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")  # its own
def test_webdataset_reads_them(coco: Path, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    out = packed(tmp_path / "out", CocoConfig(root=str(coco)), shard_images=5)
    shards = sorted(str(path) for path in out.glob("train-*.tar"))
    theirs = list(webdataset.WebDataset(shards, shardshuffle=False))
    files = build_splits(CocoConfig(root=str(coco)), "detection").train
    assert len(theirs) == len(files)
    for index, sample in enumerate(theirs):
        assert sample["jpg"] == files.path(index).read_bytes()
        entry = json.loads(sample["json"])
        assert entry["id"] == files[index].image_id
        assert len(entry["annotations"]) == len(files[index].labels)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_divided_without_loss_or_repetition(coco: Path, tmp_path: Path, ranks: int, workers: int) -> None:
    out = packed(tmp_path / "out", CocoConfig(root=str(coco)), shard_images=4)
    config = ShardsConfig(root=str(out), batch_size=3, workers=workers)
    splits = build_splits(config, "detection")
    every = sorted(image["id"] for image in splits.train.ground_truth()["images"])
    seen: dict[str, list[int]] = {"train": [], "val": []}
    for rank in range(ranks):
        transform, kinds = SSDTransformConfig(image_size=64), {"detection": "detection"}
        data = Loaders(splits, config, transform, kinds, seed=5, rank=rank, world_size=ranks)
        for name, loader in (("train", data.train()), ("val", data.evaluation(splits.train))):
            seen[name] += [int(image_id) for batch in loader for image_id in batch.image_ids]
    assert sorted(seen["val"]) == every
    # Every rank trains on as many: a few images are seen twice where they do not divide, and none is left out.
    assert set(seen["train"]) == set(every)
    assert len(seen["train"]) - len(every) < 2 * ranks
    assert seen["train"][: len(every)] != every


def interrupted(monkeypatch: pytest.MonkeyPatch, after: int, error: BaseException) -> None:
    """Let the writing of files fail once, after so many."""
    real, count = writing._add, 0

    def add(*args: Any) -> None:
        nonlocal count
        count += 1
        if count == after:
            raise error
        real(*args)

    monkeypatch.setattr(writing, "_add", add)


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir() if path.suffix in (".tar", ".json")}


@pytest.mark.parametrize("after", [1, 9, 17, 27])
def test_goes_on_where_it_was_interrupted(
    coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    whole = packed(tmp_path / "whole", CocoConfig(root=str(coco)), shard_images=4)
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        interrupted(patch, after, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            packed(out, CocoConfig(root=str(coco)), shard_images=4)
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.tar")}
    assert not list(out.glob(".*.part"))
    packed(out, CocoConfig(root=str(coco)), shard_images=4)
    assert contents(out) == contents(whole)
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())


def test_full_disk(coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    interrupted(monkeypatch, 11, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    message = r"train-000001\.tar: cannot be written: the disk is full; free some space; the shards before it are whole"
    with pytest.raises(InputError, match=message):
        packed(out, CocoConfig(root=str(coco)), shard_images=4)
    assert [path.name for path in out.glob("*.tar")] == ["train-000000.tar"]
    with pytest.raises(InputError, match=r"train\.manifest\.json: only 4 of 13 images are written; let mode"):
        build_splits(ShardsConfig(root=str(out)), "detection")


def test_no_room_is_said_before(coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(InputError, match=r"the disk has 0\.00 GB free and .* GB are needed"):
        packed(tmp_path / "out", CocoConfig(root=str(coco)))


def test_image_that_changes_meanwhile(coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "read_bytes", lambda path: Path(path).read_bytes() + b"more")
    with pytest.raises(InputError, match=r"0005\.jpg: changed while it was packed; start again with the same words"):
        packed(tmp_path / "out", CocoConfig(root=str(coco)))


def test_other_words_are_refused(coco: Path, tmp_path: Path) -> None:
    out = packed(tmp_path / "out", CocoConfig(root=str(coco)), shard_images=4)
    message = r"train\.manifest\.json: was begun with .*'shard_images': 4.* and now .*'shard_images': 5"
    with pytest.raises(InputError, match=message):
        packed(out, CocoConfig(root=str(coco)), shard_images=5)
    (coco / "train2017" / "0005.jpg").write_bytes(jpeg(picture(40, 50, 99)) + b"\0")
    with pytest.raises(InputError, match=r"was begun with other source; name another run_dir, or go on with the same"):
        packed(out, CocoConfig(root=str(coco)), shard_images=4)


def test_folder_with_other_shards_or_in_use(coco: Path, tmp_path: Path) -> None:
    (tmp_path / "train-7.tar").touch()
    with pytest.raises(InputError, match=r"train-7\.tar: is there without a manifest; name another run_dir"):
        packed(tmp_path, CocoConfig(root=str(coco)))
    with FileLock(tmp_path / ".lock"), pytest.raises(InputError, match="another process packs into it; wait for its"):
        packed(tmp_path, CocoConfig(root=str(coco)))


def test_missing_image_is_named(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = FolderConfig(root=str(pictures))
    splits = build_splits(config, "classification")
    (pictures / "train" / "ant" / "no 0.b.jpg").unlink()
    monkeypatch.setattr(FolderConfig, "build", lambda *_, **__: splits, raising=False)
    with pytest.raises(InputError, match=r"no 0\.b\.jpg: cannot be read \(No such file"):
        packed(tmp_path / "out", config, Task.classification)


@pytest.mark.parametrize(
    ("task", "data", "message"),
    [
        (Task.segmentation, FolderConfig(root="x"), "mode=pack task=segmentation: packs single files"),
        (Task.detection, ShardsConfig(root="x"), "mode=pack data=shards: packs single files"),
    ],
)
def test_what_cannot_be_packed(task: Task, data: DataConfig, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        packed(tmp_path / "out", data, task)


def test_options_are_checked() -> None:
    with pytest.raises(InputError, match=r"pack\.shard_megabytes=0: must be positive"):
        PackConfig(shard_megabytes=0)
    with pytest.raises(InputError, match=r"pack\.shard_images=0: must be at least 1, or null for no limit"):
        PackConfig(shard_images=0)


def test_command_line(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("mode=pack", "task=classification", "data=folder", f"data.root={pictures}")
    assert trident(monkeypatch, *words) == 2
    assert "mode=pack: give run_dir=FOLDER for the shards" in capsys.readouterr().err
    assert trident(monkeypatch, *words, f"run_dir={tmp_path / 'out'}") == 0
    assert "train on it with data=shards data.root=" in capsys.readouterr().out
    assert (tmp_path / "out" / "run.log").is_file()
