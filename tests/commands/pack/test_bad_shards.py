"""Shards that are missing, damaged or not ours. What is written is spoilt by hand."""

from __future__ import annotations

import json
import os
import tarfile
from hashlib import sha256
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest

from backbone.errors import InputError
from tasks.data.build import build_splits
from tasks.data.config import CocoConfig, ShardsConfig
from tests.commands.pack.packing import packed
from tests.data.builders import jpeg, picture

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def damage(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def rewrite(manifest: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(manifest.read_text())
    change(content)
    manifest.write_text(json.dumps(content))


def put(path: Path, name: str, data: bytes = b"0") -> None:
    """A tar with an image of that name."""
    with tarfile.open(path, "w") as tar:
        for member, contents in ((f"{name}.jpg", jpeg(picture(9, 9))), (f"{name}.cls", data), (f"{name}.json", data)):
            info = tarfile.TarInfo(member)
            info.size = len(contents)
            tar.addfile(info, BytesIO(contents))


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (
        lambda out: (out / "train-000002.tar").unlink(),
        r"train-000002\.tar: this shard is missing; train\.manifest\.json lists 4: copy",
    ),
    "several missing": (
        lambda out: [(out / f"train-00000{n}.tar").unlink() for n in (0, 3)],
        r"train-000000\.tar: this shard and 1 more is missing",
    ),
    "cut": (
        lambda out: os.truncate(out / "train-000001.tar", 4000),
        r"train-000001\.tar: is cut off: it has 4000 bytes, its manifest says \d+; copy it again",
    ),
    "longer": (
        lambda out: os.truncate(out / "val-000000.tar", 1 << 20),
        r"val-000000\.tar: is another file: it has \d+ bytes",
    ),
    "a flipped bit": (
        lambda out: damage(out / "train-000001.tar", 1500),
        r"train-000001\.tar: is damaged: its SHA-256 is \w{16}\.\., and its manifest says \w{16}\.\.; copy the shard",
    ),
    "foreign": (
        lambda out: put(out / "train-extra.tar", "a"),
        r"train-extra\.tar: is no shard that .*train\.manifest\.json lists; move it away",
    ),
    "another format": (
        lambda out: rewrite(out / "val.manifest.json", lambda content: content.update(format="x")),
        r"val\.manifest\.json: has format x; this version reads trident-shards-1",
    ),
    "no JSON": (
        lambda out: (out / "val.manifest.json").write_text("{"),
        r"val\.manifest\.json: is damaged \(.*\); copy it from where it was written, or write the shards again",
    ),
    "a list": (
        lambda out: (out / "val.manifest.json").write_text("[]"),
        r"val\.manifest\.json: is damaged \(.*\); copy it from where it was written, or write the shards again",
    ),
    "labels of another kind": (
        lambda out: rewrite(out / "val.manifest.json", lambda content: content.update(labels=None)),
        r"val\.manifest\.json: is damaged \(labels is no dict\)",
    ),
    "a size that is none": (
        lambda out: rewrite(out / "val.manifest.json", lambda content: content["shards"][0].update(bytes="many")),
        r"val\.manifest\.json: is damaged \(bytes is no int\)",
    ),
    "a name elsewhere": (
        lambda out: rewrite(out / "val.manifest.json", lambda content: content["shards"][0].update(name="../x.tar")),
        r"val\.manifest\.json: the name '\.\./x\.tar' leads out of its folder; it is not to be trusted",
    ),
    "other classes": (
        lambda out: rewrite(out / "val.manifest.json", lambda content: content["labels"]["names"].reverse()),
        "the manifests of train and val have other classes; write both by one mode=pack",
    ),
    "unlisted category": (
        lambda out: [
            rewrite(out / f"{split}.manifest.json", lambda content: content.update(labels={"names": ["a"], "ids": [7]}))
            for split in ("train", "val")
        ],
        r"a shard has category_id 2, which its manifest does not list; allowed are 7",
    ),
    "no manifest": (
        lambda out: [path.unlink() for path in out.glob("*.manifest.json")],
        "there is no manifest, which names the classes, beside the shards; write them by mode=pack",
    ),
}


@pytest.mark.parametrize("case", SPOILT)
def test_shards_that_are_not_as_written(coco: Path, tmp_path: Path, case: str) -> None:
    out = packed(tmp_path / "out", CocoConfig(root=str(coco)), shard_images=4)
    spoil, message = SPOILT[case]
    spoil(out)
    with pytest.raises(InputError, match=message):
        build_splits(ShardsConfig(root=str(out)), "detection")


def test_some_of_the_shards_on_purpose(coco: Path, tmp_path: Path) -> None:
    out = packed(tmp_path / "out", CocoConfig(root=str(coco)), shard_images=4)
    splits = build_splits(ShardsConfig(root=str(out), train_shards=["train-{000000..000001}.tar"]), "detection")
    assert len(splits.train) == 8
    with pytest.raises(InputError, match=r"train-000004\.tar: this shard is missing, train-\{000003\.\.000004\}\.tar"):
        build_splits(ShardsConfig(root=str(out), train_shards=["train-{000003..000004}.tar"]), "detection")


def test_labels_for_another_task(coco: Path, tmp_path: Path) -> None:
    out = packed(tmp_path / "out", CocoConfig(root=str(coco)))
    with pytest.raises(InputError, match="has labels for task=detection, not task=classification"):
        build_splits(ShardsConfig(root=str(out)), "classification")


@pytest.mark.parametrize("name", ["../a", "/a", "x/../../a"])
def test_names_that_lead_out(name: str, tmp_path: Path) -> None:
    put(tmp_path / "val.tar", name)
    with pytest.raises(InputError, match=r"val\.tar: the name .* leads out of the shard; it is not to be trusted"):
        build_splits(ShardsConfig(root=str(tmp_path)), "classification", need_train=False)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (b"[]", "the sample a has no .json with an image's entry and its annotations"),
        (b"{", "the sample a has no .json with"),
        (b'{"annotations": [], "file_name": "../../x.jpg"}', "the file_name '../../x.jpg' leads elsewhere"),
        (b'{"annotations": [], "file_name": "x.jpg"}', r"images\[0\] has no 'id'"),
        (
            b'{"annotations": [{"bbox": [1], "category_id": 1}], "file_name": "x", "id": 1, "height": 9, "width": 9}',
            r"annotations\[0\] has bbox",
        ),
    ],
)
def test_entries_that_do_not_fit(coco: Path, tmp_path: Path, entry: bytes, message: str) -> None:
    out = packed(tmp_path / "out", CocoConfig(root=str(coco)))
    put(out / "val-000000.tar", "a", entry)
    data = (out / "val-000000.tar").read_bytes()
    known = {"bytes": len(data), "sha256": sha256(data).hexdigest()}
    rewrite(out / "val.manifest.json", lambda content: content["shards"][0].update(known))
    with pytest.raises(InputError, match=rf"val-000000\.tar: .*{message}"):
        build_splits(ShardsConfig(root=str(out)), "detection")
