"""Files that are no files, or too large: refused before they are waited for or take memory."""

from __future__ import annotations

import io
import os
import struct
import tarfile
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from backbone.errors import InputError
from tasks.data.build import build_splits
from tasks.data.config import CocoConfig, FolderConfig, ShardsConfig, VocConfig
from tasks.data.files.contents import parse_json, read_text
from tasks.data.files.images import decode_image, read_image
from tasks.data.files.mask_files import ColourMasks, IndexMasks
from tasks.data.formats.coco.boxes import CocoDetection
from tests.data.builders import image_entry, jpeg, picture, voc_object, voc_xml, write_coco_split, write_voc

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

posix = pytest.mark.skipif(os.name != "posix", reason="other systems have no such files")


@posix
@pytest.mark.timeout(60)
@pytest.mark.parametrize("what", ["pipe", "device", "folder", "loop", "nowhere"])
def test_only_regular_files_are_read(tmp_path: Path, what: str) -> None:
    path = tmp_path / "a.jpg"
    if what == "pipe":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    else:
        path.symlink_to({"device": "/dev/zero", "loop": "a.jpg", "nowhere": "gone"}[what])
    reason = {
        "pipe": "is no regular file",
        "device": "is no regular file",
        "folder": "Is a directory",
        "loop": "Too many levels of symbolic links",
        "nowhere": "No such file or directory",
    }[what]
    for read in (read_image, IndexMasks(["a", "b"]), ColourMasks({"a": [0, 0, 0]}), lambda path: read_text(path, "x")):
        with pytest.raises(InputError, match=rf"a\.jpg: cannot be read \({reason}\)"):
            read(path)


@posix
@pytest.mark.timeout(60)
def test_pipes_in_every_place(tmp_path: Path) -> None:
    xml = voc_xml(voc_object("cat", 1, 1, 20, 30))
    write_voc(tmp_path / "voc", {"train": {"a": xml}, "val": {"a": xml}})
    write_coco_split(tmp_path / "coco", [image_entry(1)], [])
    (tmp_path / "folder" / "train" / "a").mkdir(parents=True)
    (tmp_path / "folder" / "val" / "a").mkdir(parents=True)
    (tmp_path / "shards").mkdir()
    for file in (
        "voc/Annotations/a.xml", "coco/annotations/instances_train2017.json", "coco/annotations/instances_val2017.json",
        "folder/train/a/0.jpg", "folder/val/a/0.jpg", "shards/val-0.tar", "shards/train-0.tar",
    ):  # fmt: skip
        (tmp_path / file).unlink(missing_ok=True)
        os.mkfifo(tmp_path / file)
    with pytest.raises(InputError, match=r"a\.xml"):
        build_splits(VocConfig(root=str(tmp_path / "voc")), "detection")
    with pytest.raises(InputError, match=r"train2017\.json"):
        CocoDetection(tmp_path / "coco", "train2017")
    with pytest.raises(InputError, match=r"0\.jpg: cannot be read"):
        build_splits(FolderConfig(root=str(tmp_path / "folder")), "classification").train[0]
    with pytest.raises(InputError, match=r"train-0\.tar"):
        build_splits(ShardsConfig(root=str(tmp_path / "shards")), "classification")


def png_of(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG that states a size and holds hardly any pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 9)) + chunk(b"IEND", b"")
    )


def bmp_of(width: int, height: int) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + 64, 0, 0, 54) + info + b"\0" * 64


def jpeg_of(width: int, height: int) -> bytes:
    """A JPEG whose frame header states another size than it has."""
    data = bytearray(jpeg(picture(8, 8)))
    place = data.index(b"\xff\xc0")
    data[place + 5 : place + 9] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.mark.parametrize("make", [png_of, bmp_of, jpeg_of])
def test_too_many_pixels_for_every_reader(tmp_path: Path, make: Callable[[int, int], bytes]) -> None:
    path = tmp_path / "a.png"
    too_large = r"a\.png: (has .* megapixels, and at most 178 are read|too large)"
    for width, height in ((14_000, 13_000), (30_000, 30_000), (65_500, 3000)):
        path.write_bytes(make(width, height))
        for read in (read_image, IndexMasks(["a", "b"]), ColourMasks({"a": [0, 0, 0]})):
            is_refused_before = make is jpeg_of and read is not read_image  # a mask is no JPEG, whatever its size
            message = r"a\.png: is a JPEG, whose compression changes values" if is_refused_before else too_large
            with pytest.raises(InputError, match=message):
                read(path)


def test_the_largest_colour_mask_takes_bounded_memory(tmp_path: Path) -> None:
    """Looked up in parts: the values of a part are those of the whole."""
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 3, (700, 50)).astype(np.uint8)
    colours = np.array([[0, 0, 0], [9, 8, 7], [255, 0, 1]], np.uint8)
    Image.fromarray(colours[classes]).save(tmp_path / "a.png")
    read = ColourMasks({"a": [0, 0, 0], "b": [9, 8, 7], "c": [255, 0, 1]})
    np.testing.assert_array_equal(read(tmp_path / "a.png"), classes)
    with pytest.raises(InputError, match=rf"a\.png: {(classes == 1).sum()} pixels have the colour \[9, 8, 7\], "):
        ColourMasks({"a": [0, 0, 0], "c": [255, 0, 1]})(tmp_path / "a.png")


def test_a_tiff_that_pillow_does_not_know_states_its_size(tmp_path: Path) -> None:
    import cv2

    data = cv2.imencode(".tiff", np.full((5, 7, 4), 40_000, np.uint16))[1].tobytes()
    assert decode_image("a.tiff", data).shape == (5, 7, 3)
    assert CocoConfig().outside_root is False


def test_sparse_files_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    with path.open("wb") as file:
        file.truncate(5 << 30)
    with pytest.raises(InputError, match=r"a\.jpg: has 5368709120 bytes, and at most 2147483648 are read"):
        read_image(path)
    with pytest.raises(InputError, match=r"a\.jpg: has 5368709120 bytes, and at most 67108864 are read; go"):
        read_text(path, "go")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_texts_with_a_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "list.txt").write_text("Käfer\n蝶", encoding=encoding)
    assert read_text(tmp_path / "list.txt", "").splitlines() == ["Käfer", "蝶"]


def test_texts_in_other_encodings(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("Käfer", encoding="latin-1")
    with pytest.raises(InputError, match=r"list\.txt: is no text in UTF-8 \(invalid continuation byte at byte 1\); go"):
        read_text(tmp_path / "list.txt", "go")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000])
def test_deep_json(text: str) -> None:
    with pytest.raises(ValueError, match="nested too deep"):
        parse_json(text)


def test_tar_of_a_pipe(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo("0.jpg")
        member.type = tarfile.FIFOTYPE
        tar.addfile(member)
    for name in ("train-0.tar", "val-0.tar"):
        (tmp_path / name).write_bytes(buffer.getvalue())
    with pytest.raises(InputError, match="holds no sample"):
        build_splits(ShardsConfig(root=str(tmp_path)), "classification")
