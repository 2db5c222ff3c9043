"""Files that hold other files or say what they hold: shards and their notes, archives, weights, exported files."""

from __future__ import annotations

import io
import json
import stat
import tarfile
import warnings
import zipfile
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import deserialize
from safetensors.numpy import save

from backbone.architecture_file import from_plain, to_plain
from backbone.architecture_file import read as read_architecture
from backbone.errors import InputError
from backbone.families.mobilenet_v2 import mobilenet_v2
from backbone.tensor_file import check_seal, read_tensor_file
from backbone.weights.files import read_tensors
from tasks.checkpoints.model_file import FORMAT, is_foreign, read_header
from tasks.data.config import ShardsConfig
from tasks.data.files.unpack import unpack
from tasks.data.formats.shards import boxes, classes, manifest
from tasks.data.formats.shards.index import INDEX_SUFFIX
from tasks.deploy.header import read_artifact
from tests.data.builders import jpeg, picture
from tests.deploy.test_header import as_onnx, header
from tests.fuzz.campaign import Surface, check
from tests.fuzz.mutations import TEXTS, damaged, json_bytes, maybe_damaged, tree, value

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

IMAGE = jpeg(picture(20, 30))
ENTRY = {
    "id": 3, "file_name": "a.jpg", "height": 20, "width": 30,
    "annotations": [{"id": 1, "bbox": [1, 2, 3, 4], "category_id": 1, "iscrowd": 0, "area": 12.0}],
}  # fmt: skip
NAMES = (
    "../a",
    "/a",
    "a/../../b",
    "C:a",
    "a\\..\\..\\b",
    "",
    ".",
    "a\0b",
    "x" * 300,
    "d/" * 1500 + "a",
    "é",
    "\x1b[2J",
    "CON",
)


def tarred(members: list[tuple[str, bytes]], **changes: Any) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=changes.get("format", tarfile.PAX_FORMAT)) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.type = changes.get("type", tarfile.REGTYPE) if name == changes.get("name") else tarfile.REGTYPE
            info.linkname = changes.get("link", "")
            tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


def holds(found: Any, said: Any) -> bool:
    """Whether what was read is what a file says; a key that it leaves out may have its default."""
    if isinstance(said, dict):
        return isinstance(found, dict) and all(key in found and holds(found[key], value) for key, value in said.items())
    if isinstance(said, list):
        return len(found) == len(said) and all(map(holds, found, said))
    return type(found) is type(said) and found == said


def architecture(_: Path) -> dict[str, Any]:
    return to_plain(mobilenet_v2(0.35))


def try_architecture(rng: Random, folder: Path, valid: dict[str, Any]) -> None:
    """A network as a file."""
    file = folder / "architecture.yaml"
    file.write_bytes(json_bytes(rng, valid))
    found = read_architecture(str(file))
    check(holds(found, json.loads(file.read_bytes())), "other values than the file's")
    specs = from_plain(found).specs
    check(all(1 <= spec.channels <= 16_384 and spec.stride >= 1 for spec in specs.values()), specs)


def no_preparation(_: Path) -> None:
    return None


def try_shard(rng: Random, folder: Path, _: Any) -> None:
    """A shard with classes: its names, its numbers, its bytes, and the index beside it."""
    number = rng.choice(
        (b"0", b"1", b"1", b"2", b"3000000000", b"-1", b"1.0", b"x", b"", b"[1]", b'{"label": 1}', b"\xff")
    )
    members = [("a.jpg", IMAGE), ("a.cls", number), ("b.jpg", IMAGE), ("b.cls", b"1")]
    if rng.random() < 0.3:
        members.insert(rng.randrange(4), (rng.choice((*NAMES, "a.png", "b", ".x.jpg", "__x.jpg")), b"1"))
    data = maybe_damaged(rng, tarred(members), 0.4)
    for name in ("train-0.tar", "val-0.tar"):
        (folder / name).write_bytes(data)
        (folder / f"{name}{INDEX_SUFFIX}").unlink(missing_ok=True)
    config = ShardsConfig(root=str(folder), train_shards=["train-*.tar"], val_shards=["val-*.tar"])
    splits = classes.build_splits(config)
    truth = splits.val.classes().tolist()  # type: ignore[union-attr]
    if rng.random() < 0.5:
        index = folder / f"val-0.tar{INDEX_SUFFIX}"
        index.write_bytes(hostile_arrays(rng, index.read_bytes()))
        splits = classes.build_splits(config)
        check(splits.val.classes().tolist() == truth, "another index was believed")  # type: ignore[union-attr]
    with tarfile.open(folder / "val-0.tar", "r:") as tar:
        contents = {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}  # type: ignore[union-attr]
    for index in range(len(truth)):
        sample = splits.val[index]
        check(sample.image.shape[2] == 3, sample.image.shape)
        name = splits.val.path(index).name  # type: ignore[union-attr]
        said = contents[name.rsplit(".", 1)[0] + ".cls"]
        check(int(json.loads(said) if said[:1] != b"{" else json.loads(said)["label"]) == truth[index], said)


def hostile_arrays(rng: Random, data: bytes) -> bytes:
    """An index file that is damaged, or well made with other contents and the right stamp."""
    if rng.random() < 0.5:
        return damaged(rng, data)
    with np.load(io.BytesIO(data)) as loaded:
        arrays = {name: loaded[name] for name in loaded}
    name = rng.choice([name for name in arrays if name != "stamp"])
    changed: Any = rng.choice((
        arrays[name][:0], arrays[name][None], arrays[name].astype(np.str_), -np.ones(2, np.int64), np.zeros(2),
        np.array(2**62), np.full(2, 2**40, np.int64),
    ))  # fmt: skip
    file = io.BytesIO()
    if rng.random() < 0.1:
        np.savez_compressed(file, **arrays | {name: np.zeros(5 * 10**6, np.int64)})
    else:
        np.savez(file, **arrays | {name: changed})
    return file.getvalue()


def try_box_shard(rng: Random, folder: Path, _: Any) -> None:
    members = [
        ("a.jpg", IMAGE),
        ("a.json", json_bytes(rng, ENTRY)),
        ("b.jpg", IMAGE),
        ("b.json", json.dumps(ENTRY | {"id": 4}).encode()),
    ]
    (folder / "x.tar").write_bytes(maybe_damaged(rng, tarred(members), 0.2))
    (folder / f"x.tar{boxes.INDEX_SUFFIX}").unlink(missing_ok=True)
    for _again in range(2):
        found = boxes.read_boxes(folder / "x.tar")
        check(len(found["bbox_xywh_px"]) == len(found["owner"]) == len(found["crowd"]), found)
        check(all(str(name) and ".." not in str(name).split("/") for name in found["file_names"]), found["file_names"])
        file = folder / f"x.tar{boxes.INDEX_SUFFIX}"
        file.write_bytes(damaged(rng, file.read_bytes()))


def try_manifest(rng: Random, folder: Path, _: Any) -> None:
    shard = manifest.Shard(name="train-0.tar", bytes=10, samples=2, sha256="ab" * 32)
    whole = manifest.Manifest(
        split="train", kind="classification", labels={"names": ["a"], "ids": [0]}, samples=2, source="x", how={},
        complete=True, shards=[shard],
    )  # fmt: skip
    file = folder / "train.manifest.json"
    file.write_bytes(json_bytes(rng, whole.to_plain()))
    found = manifest.read_manifest(file)
    check(all("/" not in one.name and type(one.bytes) is int for one in found.shards), found)
    check(manifest.Manifest(**{name: getattr(found, name) for name in found.__slots__}).split == found.split, found)


def hostile_zip(rng: Random) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(
        file, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA))
    ) as archive:
        for name in (
            "a/b.txt",
            *rng.sample((*NAMES, "a", "A/b.txt", "a/b.txt", "c.txt", "a/b.txt/c"), rng.randint(0, 3)),
        ):
            info = zipfile.ZipInfo("x")
            info.filename = name
            if rng.random() < 0.1:
                info.external_attr = (rng.choice((stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR)) | 0o777) << 16
            with warnings.catch_warnings(action="ignore"):  # of a name that is in it twice
                archive.writestr(info, rng.choice((b"", b"text", bytes(10**6))))
    return file.getvalue()


def try_archive(rng: Random, folder: Path, _: Any) -> None:
    if rng.random() < 0.5:
        data = hostile_zip(rng)
    else:
        names = ["a/b.txt", *rng.sample([*NAMES, "a/c.txt", "a"], rng.randint(0, 3))]
        kinds = (
            tarfile.REGTYPE,
            tarfile.SYMTYPE,
            tarfile.LNKTYPE,
            tarfile.CHRTYPE,
            tarfile.FIFOTYPE,
            tarfile.GNUTYPE_SPARSE,
        )
        try:
            data = tarred(
                [(name, b"text") for name in names], name=rng.choice(names), type=rng.choice(kinds),
                link=rng.choice(("", "../../x", "/etc/passwd", "a/b.txt")),
                format=rng.choice((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)),
            )  # fmt: skip
        except ValueError:
            data = b""
    file = folder / "x.archive"
    file.write_bytes(maybe_damaged(rng, data, 0.5))
    target = folder / "out" / str(rng.random())
    before = {path for path in folder.rglob("*") if folder / "out" not in path.parents}
    try:
        tops = unpack(file, target)
        check(all(target in path.parents for path in tops), tops)
        for path in target.rglob("*"):
            check(not path.is_symlink() and (path.is_file() or path.is_dir()), path)
            check(path.is_dir() or path.read_bytes() in (b"", b"text", b"1", bytes(10**6)), path)
    except InputError:
        check(not list(target.rglob("*")), "something was left of what was refused")
        raise
    finally:
        after = {path for path in folder.rglob("*") if folder / "out" not in path.parents}
        check(after <= before | {folder / "out"}, after - before)


def valid_weights(_: Path) -> tuple[bytes, dict[str, Any], dict[str, Any]]:
    arrays = {
        "a.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.ones((), np.int64),
        "c": np.zeros((0, 2), np.float16),
    }
    plain = {
        "config": {"backbone": {"width": 0.1}, "transform": {"image_size": 64}}, "choices": {"task": "detection"},
        "labels": {"detection": {"names": ["a", "b"], "ids": [1, 2]}}, "provenance": {"git": None},
    }  # fmt: skip
    whole = save(arrays, {"format": FORMAT} | {name: json.dumps(part) for name, part in plain.items()})
    return whole, json.loads(whole[8 : 8 + int.from_bytes(whole[:8], "little")]), plain


def try_weights(rng: Random, folder: Path, valid: tuple[bytes, dict[str, Any], dict[str, Any]]) -> None:
    """A safetensors file of a run: its frame, its header's structure, or the texts in its metadata."""
    whole, head, plain = valid
    data = whole[8 + int.from_bytes(whole[:8], "little") :]
    kind = rng.random()
    if kind < 0.3:
        content = damaged(rng, whole)
    elif kind < 0.6:
        text = json_bytes(rng, head)
        content = len(text).to_bytes(8, "little") + text + data
    else:
        texts = {name: json_bytes(rng, part).decode(errors="replace") for name, part in plain.items()}
        text = json.dumps(head | {"__metadata__": {"format": FORMAT} | texts}).encode()
        content = len(text).to_bytes(8, "little") + text + data
    file = folder / "model.safetensors"
    file.write_bytes(content)
    check(is_foreign(str(file)) in (True, False), "is_foreign")
    found = read_tensor_file(file)
    check({name for name, _ in deserialize(content)} == set(found.tensors), found)
    check_seal(file)
    said = read_header(str(file))
    check(all(isinstance(part, dict) for part in (said.config, said.choices, said.labels, said.provenance)), said)
    check(json.loads(found.metadata["config"]) == said.config or "NaN" in found.metadata["config"], said.config)
    for labels in said.labels.values():
        check(
            len(labels["names"]) == len(labels["ids"]) and all(isinstance(name, str) for name in labels["names"]),
            labels,
        )


def torch_weights(_: Path) -> bytes:
    file = io.BytesIO()
    torch.save({"state_dict": {"features.0.0.weight": torch.ones(2, 3), "x": torch.zeros(0, dtype=torch.int64)}}, file)
    return file.getvalue()


def try_torch_weights(rng: Random, folder: Path, valid: bytes) -> None:
    """A file of torch: a ZIP archive with a pickle, of which plain tensors alone are taken."""
    file = folder / f"x.{rng.choice(('pth', 'pt', 'bin'))}"
    if rng.random() < 0.7:
        with zipfile.ZipFile(io.BytesIO(valid)) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        name = rng.choice([name for name in parts if name.endswith(("data.pkl", "data/0"))])
        parts[name] = damaged(rng, parts[name])
        with zipfile.ZipFile(file, "w") as archive:
            for name, data in parts.items():
                archive.writestr(name, data)
    else:
        file.write_bytes(damaged(rng, valid))
    tensors, header = read_tensors(str(file))
    check(header == {} and all(isinstance(one, torch.Tensor) for one in tensors.values()), tensors)
    for tensor in tensors.values():
        check(tensor.numel() < 10**8, tensor.shape)
        tensor.double().sum()


def keras_weights(_: Path) -> bytes:
    import h5py

    file = io.BytesIO()
    with h5py.File(file, "w") as content:
        content.create_dataset("Conv1/kernel:0", data=np.ones((3, 3, 3, 8), np.float32))
        content.create_dataset("block_1_expand/kernel:0", data=np.ones((1, 1, 8, 8), np.float32), compression="gzip")
        content.create_dataset("vars/0", data=np.ones(4, np.float16))
        content["vars"].attrs["name"] = "bn"
    return file.getvalue()


def try_keras_weights(rng: Random, folder: Path, valid: bytes) -> None:
    file = folder / "x.h5"
    file.write_bytes(damaged(rng, valid))
    tensors, _ = read_tensors(str(file))
    check(all(isinstance(one, torch.Tensor) and one.numel() < 10**8 for one in tensors.values()), tensors.keys())


def try_artifact(rng: Random, folder: Path, _: Any) -> None:
    """The header of an exported file, in each of its places."""
    plain = json.loads(header().to_json())
    text = json_bytes(rng, plain).decode(errors="replace")
    if rng.random() < 0.5:
        file = folder / "m.onnx"
        content = as_onnx(text) if len(text.encode(errors="replace")) < 2**13 else text.encode(errors="replace")
    else:
        file = folder / "m.tflite"
        held = io.BytesIO(bytes(100))
        with zipfile.ZipFile(held, "a", rng.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED))) as archive:
            archive.writestr(rng.choice(("trident.json", "trident.json", "x", "../x")), text.encode(errors="replace"))
        content = held.getvalue()
    file.write_bytes(maybe_damaged(rng, content, 0.3))
    found = read_artifact(str(file))
    check(1 <= found.size <= 8192 and all(0 <= grey <= 255 for grey in found.padding), (found.size, found.padding))
    check(set(found.labels) == set(found.heads) and isinstance(found.runtime, str), found)


def try_bomb(rng: Random, folder: Path, _: Any) -> None:
    """Contents of a kilobyte that become gigabytes."""
    file = folder / "m.tflite"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("trident.json", "w") as entry:
        for _again in range(rng.choice((1, 300))):
            entry.write(b" " * (1 << 20))
        entry.write(json.dumps(tree(rng, {"format": value(rng), "x": rng.choice(TEXTS)})).encode(errors="replace"))
    read_artifact(str(file))


SURFACES = (
    Surface("architectures", architecture, try_architecture),
    Surface("shards", no_preparation, try_shard),
    Surface("shards with boxes", no_preparation, try_box_shard),
    Surface("manifests", no_preparation, try_manifest),
    Surface("archives", no_preparation, try_archive),
    Surface("safetensors", valid_weights, try_weights),
    Surface("torch's weights", torch_weights, try_torch_weights, native=True),
    Surface("exported files", no_preparation, try_artifact),
    *([Surface("Keras's weights", keras_weights, try_keras_weights, native=True)] * bool(find_spec("h5py"))),
    Surface("bombs", no_preparation, try_bomb, native=True, slow=20),
)
