"""Mask files and folders of them. The oracle is Pillow's palette, and colours counted by hand."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hydra import compose, initialize_config_module
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from PIL import Image

from backbone.errors import InputError
from conf.schema import register
from tasks.data.build import build_splits
from tasks.data.config import MasksConfig
from tasks.data.files.mask_files import ColourMasks, IndexMasks
from tasks.data.formats.mask_folder import MaskFolders
from tasks.data.labels import LabelMap
from tests.data.builders import jpeg, picture

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("background", "road", "car")
COLOURS = {"background": [0, 0, 0], "road": [128, 64, 128], "car": [0, 0, 142]}


def write(path: Path, values: object, mode: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.array(values, dtype=np.uint8))
    (image if mode is None else image.convert(mode)).save(path)
    return path


def write_pairs(root: Path, splits: dict[str, list[str]], values: object = ((0, 1, 255), (2, 2, 0))) -> Path:
    """Images of the masks' size, in the default folders."""
    for split, names in splits.items():
        for name in names:
            mask = write(root / "masks" / split / f"{name}.png", values)
            image = root / "images" / split / f"{name}.jpg"
            image.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(mask) as opened:
                image.write_bytes(jpeg(picture(opened.height, opened.width)))
    return root


@settings(max_examples=30, deadline=None)
@given(st.binary(min_size=6, max_size=6), st.sampled_from(["P", "L"]))
def test_palette_indices_are_pillows(tmp_path_factory: pytest.TempPathFactory, data: bytes, mode: str) -> None:
    path = tmp_path_factory.mktemp("masks") / "a.png"
    image = Image.frombytes(mode, (3, 2), bytes(value % 5 for value in data))
    if mode == "P":
        image.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
    image.save(path)
    mask = IndexMasks("abcde")(path)
    assert mask.dtype == np.uint8
    with Image.open(path) as opened:
        assert opened.mode == mode
        np.testing.assert_array_equal(mask, np.array(opened))


def test_values_of_fewer_bits(tmp_path: Path) -> None:
    """A palette PNG of four classes takes 2 bits; grey ones of 1 and 4 bits hold indices too."""
    palette = Image.new("P", (4, 1))
    palette.putpalette([0, 0, 0, 9, 0, 0, 0, 9, 0, 0, 0, 9])
    for value in range(4):
        palette.putpixel((value, 0), value)
    palette.save(tmp_path / "p.png", bits=2)
    assert IndexMasks("abcd")(tmp_path / "p.png").tolist() == [[0, 1, 2, 3]]
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "one.png")
    assert IndexMasks("ab")(tmp_path / "one.png").tolist() == [[1, 0]]
    (tmp_path / "four.png").write_bytes(grey_png(bits=4, row=bytes([0x01, 0x2F])))
    assert IndexMasks("abcdefghijklmnop")(tmp_path / "four.png").tolist() == [[0, 1, 2, 15]]
    (tmp_path / "two.png").write_bytes(grey_png(bits=2, row=bytes([0b00011011])))
    assert IndexMasks("abcd")(tmp_path / "two.png").tolist() == [[0, 1, 2, 3]]


def grey_png(bits: int, row: bytes) -> bytes:
    """One row of four pixels, written chunk by chunk."""
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 4, 1, bits, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"\0" + row)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_value_that_is_no_class(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", [[0, 3, 3], [7, 255, 254]])
    message = (
        r"a\.png: 2 pixels have the value 3 and 2 more values that are no class; allowed are 0 \.\. 2"
        r" \(background, road, car\) and 255 for void: correct the mask or the list of classes"
    )
    with pytest.raises(InputError, match=message):
        IndexMasks(NAMES)(path)
    with pytest.raises(InputError, match="1 pixels have the value 254; allowed"):
        IndexMasks(["x"] * 254)(path)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_colours_where_indices_are_expected(tmp_path: Path, mode: str) -> None:
    path = write(tmp_path / "a.png", [[0, 1]] if mode == "LA" else [[[0, 0, 0], [128, 0, 0]]], mode)
    with pytest.raises(InputError, match=rf"a\.png: is an image of mode {mode}, .*name its colours by data=masks"):
        IndexMasks(NAMES)(path)


def test_an_ignored_value_is_void(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", [[0, 1, 11], [2, 255, 11]])
    assert IndexMasks(NAMES, [11])(path).tolist() == [[0, 1, 255], [2, 255, 255]]
    with pytest.raises(InputError, match=r"2 pixels have the value 11; .* data\.ignore_index=\[11\]$"):
        IndexMasks(NAMES)(path)
    with pytest.raises(InputError, match=r"data\.ignore_index=\[9,11\]$"):
        IndexMasks(NAMES, [9])(path)


@pytest.mark.parametrize("value", [-1, 2, 256])
def test_no_class_can_be_ignored(value: int) -> None:
    with pytest.raises(InputError, match=rf"data\.ignore_index=\[{value}\]: {value} is not allowed; 3 \.\. 255 are"):
        IndexMasks(NAMES, [value])


def test_an_ignored_value_from_the_command_line(tmp_path: Path) -> None:
    root = write_pairs(tmp_path, {"train": ["a"], "val": ["b"]}, ((0, 1, 11), (2, 2, 0)))
    config = MasksConfig(root=str(root), classes=list(NAMES), ignore_index=[11])
    assert build_splits(config, "segmentation").train[0].mask.tolist() == [[0, 1, 255], [2, 2, 0]]
    both = MasksConfig(root=str(root), colours=COLOURS, ignore_index=[11])
    with pytest.raises(InputError, match=r"data\.ignore_index=\[11\]: is for masks of indices"):
        build_splits(both, "segmentation")


@pytest.mark.parametrize("reader", [IndexMasks(NAMES), ColourMasks(COLOURS)])
def test_unreadable_masks(tmp_path: Path, reader: IndexMasks | ColourMasks) -> None:
    whole = write(tmp_path / "whole.png", np.arange(10000).reshape(100, 100) % 3).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("no image")
    for name in ("cut", "text"):
        with pytest.raises(InputError, match=rf"{name}\.png: cannot be read as a mask \(not a whole image\); replace"):
            reader(tmp_path / f"{name}.png")
    with pytest.raises(InputError, match=r"gone\.png: cannot be read \(No such file or directory\); replace"):
        reader(tmp_path / "gone.png")


def test_colours_become_indices(tmp_path: Path) -> None:
    pixels = [[[0, 0, 142], [128, 64, 128]], [[0, 0, 0], [224, 224, 192]]]
    read = ColourMasks(COLOURS, [[224, 224, 192], [1, 2, 3]])
    assert read(write(tmp_path / "rgb.png", pixels)).tolist() == [[2, 1], [0, 255]]
    assert read(write(tmp_path / "opaque.png", pixels, "RGBA")).tolist() == [[2, 1], [0, 255]]
    image = Image.fromarray(np.array(pixels, np.uint8)).quantize(4)
    assert image.mode == "P"
    image.save(tmp_path / "palette.png")
    assert read(tmp_path / "palette.png").tolist() == [[2, 1], [0, 255]]
    black_and_white = ColourMasks({"background": [0, 0, 0], "object": [255, 255, 255]})
    assert black_and_white(write(tmp_path / "grey.png", [[0, 255]])).tolist() == [[0, 1]]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=12, unique=True), st.integers(0, 99))
def test_any_colour_map(
    tmp_path_factory: pytest.TempPathFactory, colours: list[tuple[int, int, int]], seed: int
) -> None:
    indices = np.random.default_rng(seed).integers(0, len(colours), (5, 4))
    path = write(tmp_path_factory.mktemp("masks") / "a.png", np.array(colours)[indices])
    read = ColourMasks({f"class {number}": colour for number, colour in enumerate(colours)})
    np.testing.assert_array_equal(read(path), indices)


def test_unknown_colours(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", [[[0, 0, 0], [9, 9, 9], [0, 0, 143], [9, 9, 9]]])
    message = (
        r"a\.png: 2 pixels have the colour \[9, 9, 9\], 3 in all have one that is not in the map; allowed are"
        r" background \[0, 0, 0\], road \[128, 64, 128\], car \[0, 0, 142\]: correct the mask, or add the colour"
    )
    with pytest.raises(InputError, match=message):
        ColourMasks(COLOURS)(path)
    Image.new("RGBA", (2, 2), (0, 0, 0, 100)).save(tmp_path / "b.png")
    with pytest.raises(InputError, match=r"b\.png: has transparent pixels, whose class is unknown; write it as RGB"):
        ColourMasks(COLOURS)(tmp_path / "b.png")
    with pytest.raises(InputError, match=r"c\.png: is an image of mode I;16; write it as RGB with 8 bits"):
        ColourMasks(COLOURS)(write(tmp_path / "c.png", [[0, 1]], "I;16"))


@pytest.mark.parametrize(
    ("colours", "void", "message"),
    [
        ({"a": 5}, [], r"data\.colours: a has the colour 5; it must be three numbers"),
        ({"a": [0, 0]}, [], r"data\.colours: a has the colour \[0, 0\]; it must be three numbers 0 \.\. 255"),
        ({"a": [0, 0, 256]}, [], r"a has the colour \[0, 0, 256\]"),
        ({"a": [0, 0, 0]}, [[0, -1, 0]], r"void has the colour \[0, -1, 0\]"),
        ({"a": [1, 2, 3], "b": [1, 2, 3]}, [], r"data\.colours: b and a have the same colour \[1, 2, 3\]"),
        ({"a": [1, 2, 3]}, [[1, 2, 3]], r"void and a have the same colour"),
    ],
)
def test_impossible_colour_maps(colours: dict[str, list[int]], void: list[list[int]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ColourMasks(colours, void)


def test_folders_of_indices(tmp_path: Path) -> None:
    root = write_pairs(tmp_path, {"train": ["b", "a"], "val": ["c"]})
    (root / "images" / "train" / ".DS_Store").write_text("")
    (root / "masks" / "train" / "notes.txt").write_text("")
    splits = build_splits(MasksConfig(root=str(root), classes=list(NAMES)), "segmentation")
    assert (splits.labels.names, splits.labels.ids, splits.test) == (NAMES, (0, 1, 2), None)
    assert (len(splits.train), len(splits.val)) == (2, 1)
    assert [splits.train.path(index).name for index in range(2)] == ["a.jpg", "b.jpg"]
    sample = splits.train[1]
    assert sample.mask is not None
    assert sample.mask.tolist() == [[0, 1, 255], [2, 2, 0]]
    assert (sample.image.shape, sample.size, sample.image_id) == ((2, 3, 3), (2, 3), 1)
    assert sample.boxes_xyxy_px.shape == (0, 4)
    write_pairs(tmp_path, {"test": ["d", "e"]})
    test = build_splits(MasksConfig(root=str(root), classes=list(NAMES)), "segmentation").test
    assert test is not None
    assert len(test) == 2


def test_colours_from_the_command_line(tmp_path: Path) -> None:
    root = write_pairs(tmp_path, {"train": ["a"], "val": ["a"]}, [[[0, 0, 142], [128, 64, 128], [9, 9, 9]]])
    register()
    colours = "{background: [0, 0, 0], road: [128, 64, 128], car: [0, 0, 142]}"
    given = ["data=masks", f"data.root='{root}'", f"data.colours={colours}", "data.void_colours=[[9, 9, 9]]"]
    with initialize_config_module("conf", version_base=None):
        node = compose("config", overrides=given).data
    splits = build_splits(OmegaConf.to_object(node), "segmentation")
    assert splits.labels.names == NAMES
    assert splits.train[0].mask.tolist() == [[2, 1, 255]]
    listed = MasksConfig(root=str(root), classes=list(NAMES), colours=[*COLOURS.values()], void_colours=[[9, 9, 9]])
    assert build_splits(listed, "segmentation").train[0].mask.tolist() == [[2, 1, 255]]
    node.classes = ["car", "background", "road"]
    splits = build_splits(OmegaConf.to_object(node), "segmentation")
    assert (splits.labels.names, splits.val[0].mask.tolist()) == (("car", "background", "road"), [[0, 2, 255]])


def test_names_that_end_otherwise_and_folders_within(tmp_path: Path) -> None:
    for name in ("x/one", "y/one"):
        write(tmp_path / "gt/train" / f"{name}_gt.png", [[1]])
        write(tmp_path / "gt/train" / f"{name}_colour.png", [[[1, 2, 3]]])
        write(tmp_path / "left/train" / f"{name}_img.png", [[[1, 2, 3]]])
    config = {"images": "left/{split}", "masks": "gt/{split}", "image_suffix": "_img", "mask_suffix": "_gt"}
    splits = build_splits(
        MasksConfig(root=str(tmp_path), classes=list(NAMES), val_split="train", **config), "segmentation"
    )
    assert [splits.val[index].mask.tolist() for index in range(len(splits.val))] == [[[1]], [[1]]]
    with pytest.raises(InputError, match=r"x/one_img\.png: this image and 1 more has no mask of that name"):
        build_splits(
            MasksConfig(root=str(tmp_path), classes=["a"], val_split="train", **(config | {"mask_suffix": ""})),
            "segmentation",
        )


def test_images_and_masks_without_partners(tmp_path: Path) -> None:
    root = write_pairs(tmp_path, {"train": ["a", "b", "c", "d"]})
    read = LabelMap(NAMES, range(3)), IndexMasks(NAMES)
    (root / "masks/train/b.png").unlink()
    (root / "masks/train/c.png").unlink()
    message = r"images/train/b\.jpg: this image and 1 more has no mask of that name in .*masks/train; add the mask or"
    with pytest.raises(InputError, match=message):
        MaskFolders(root, "images/train", "masks/train", *read)
    for name in "abc":
        (root / f"images/train/{name}.jpg").unlink()
    with pytest.raises(InputError, match=r"masks/train/a\.png: this mask has no image of that name in .*images/train"):
        MaskFolders(root, "images/train", "masks/train", *read)
    (root / "masks/train/a.png").rename(root / "masks/train/d.bmp")
    with pytest.raises(InputError, match=r"d\.png: has the same name as d\.bmp; remove one of the two"):
        MaskFolders(root, "images/train", "masks/train", *read)
    for path in [*root.glob("*/train/*")]:
        path.unlink()
    with pytest.raises(InputError, match=r"images/train: lists no image; choose another split or complete it"):
        MaskFolders(root, "images/train", "masks/train", *read)


def test_mask_and_image_of_different_size(tmp_path: Path) -> None:
    root = write_pairs(tmp_path, {"train": ["a"]})
    write(root / "masks/train/a.png", [[0, 1]])
    data = MaskFolders(root, "images/train", "masks/train", LabelMap(NAMES, range(3)), IndexMasks(NAMES))
    with pytest.raises(
        InputError, match=r"a\.jpg: is 3 x 2 pixels .* but annotated as 2 x 1 in .*a\.png; put the file"
    ):
        data[0]
    with pytest.raises(IndexError, match=r"image 1: must be in 0 \.\. 0"):
        data[1]
    with pytest.raises(IndexError, match="image -1"):
        data.mask_path(-1)


def test_images_that_exif_turns(tmp_path: Path) -> None:
    """The mask is of the image as it is shown, or as it is stored: its size says which."""
    root = write_pairs(tmp_path, {"train": ["a"]}, np.zeros((20, 30), np.uint8))
    stored = picture(20, 30)
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    Image.fromarray(stored).save(buffer, "JPEG", quality=95, subsampling=0, exif=exif)
    (root / "images/train/a.jpg").write_bytes(buffer.getvalue())
    data = MaskFolders(root, "images/train", "masks/train", LabelMap(NAMES, range(3)), IndexMasks(NAMES))
    np.testing.assert_allclose(data[0].image.astype(int), stored, atol=12)
    write(root / "masks/train/a.png", np.ones((30, 20), np.uint8))
    np.testing.assert_allclose(data[0].image.astype(int), np.rot90(stored, -1), atol=12)


def test_one_pixel(tmp_path: Path) -> None:
    root = write_pairs(tmp_path, {"train": ["a"], "val": ["a"]}, [[2]])
    sample = build_splits(MasksConfig(root=str(root), classes=list(NAMES)), "segmentation").train[0]
    assert sample.mask is not None
    assert (sample.image.shape, sample.mask.tolist()) == ((1, 1, 3), [[2]])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, r"data\.classes is not set; name the values 0, 1, \.\.\. of the masks"),
        ({"classes": ["a"], "void_colours": [[0, 0, 0]]}, r"data\.void_colours is set but data\.colours is not"),
        ({"classes": ["a", "b"], "colours": {"b": [0, 0, 0], "c": [1, 0, 0]}}, "a, c in one of them only; both must"),
        ({"classes": [str(n) for n in range(256)]}, "there are 256; a mask holds at most 255 and void"),
        ({"classes": ["a"]}, r"data\.root is not set; give the folder of images and masks of the same names"),
        ({"classes": ["a"], "root": "nowhere"}, "nowhere: there is no such folder"),
        ({"classes": ["a", "a"]}, "class name 'a' occurs 2 times"),
        ({"classes": []}, "there is no class"),
        ({"colours": {}}, "there is no class"),
        (
            {"colours": [[0, 0, 0]]},
            r"data\.colours=\[\[0, 0, 0\]\]: must be \{class: \[red, green, blue\], \.\.\.\}, or",
        ),
        ({"colours": [[0, 0, 0]], "classes": ["a", "b"]}, "a list with as many colours as data.classes has names"),
        ({"colours": {"a": 7}, "root": "."}, "a has the colour 7; it must be three numbers"),
    ],
)
def test_impossible_configurations(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_splits(MasksConfig(**values), "segmentation")


def test_missing_folders_and_other_tasks(tmp_path: Path) -> None:
    write_pairs(tmp_path, {"train": ["a"]})
    with pytest.raises(InputError, match=r"images/val: there is no such folder; the images of the split should be"):
        build_splits(MasksConfig(root=str(tmp_path), classes=list(NAMES)), "segmentation")
    with pytest.raises(InputError, match="task=detection data=masks: this data has labels for segmentation only"):
        build_splits(MasksConfig(), "detection")


def test_masks_as_other_tools_write_them(tmp_path: Path) -> None:
    """16 bits, grey in three channels, 0 and 255 for two classes are read; JPEG and counting from 1 are named."""
    values = np.array([[0, 1, 2], [2, 255, 0]], dtype=np.uint8)
    Image.fromarray(values.astype(np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(np.dstack([values] * 3)).save(tmp_path / "rgb.png")
    Image.fromarray(np.dstack([*[values] * 3, np.full_like(values, 255)])).save(tmp_path / "rgba.png")
    for name in ("deep", "rgb", "rgba"):
        np.testing.assert_array_equal(IndexMasks("abc")(tmp_path / f"{name}.png"), values)
    Image.fromarray(np.array([[300, 1]], dtype=np.uint16)).save(tmp_path / "high.png")
    with pytest.raises(InputError, match=r"1 pixels have the value 300; allowed are 0 \.\. 2"):
        IndexMasks("abc")(tmp_path / "high.png")
    Image.fromarray(np.array([[1, 2, 3]], dtype=np.uint8)).save(tmp_path / "one.png")
    with pytest.raises(InputError, match=r"its values are 1 .. 3, so the classes look counted from 1"):
        IndexMasks("abc")(tmp_path / "one.png")
    Image.fromarray(values).save(tmp_path / "lossy.jpg")
    with pytest.raises(InputError, match=r"is a JPEG, whose compression changes values"):
        IndexMasks("abc")(tmp_path / "lossy.jpg")


def test_masks_of_0_and_255(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            (tmp_path / kind / split).mkdir(parents=True)
        mask = np.zeros((8, 8), dtype=np.uint8)
        mask[2:5] = 255
        Image.fromarray(mask).save(tmp_path / "masks" / split / "a.png")
        Image.fromarray(np.dstack([mask] * 3)).save(tmp_path / "images" / split / "a.png")
    splits = build_splits(MasksConfig(root=str(tmp_path), classes=["no", "yes"]), "segmentation")
    np.testing.assert_array_equal(splits.val[0].mask, np.repeat([0, 0, 1, 1, 1, 0, 0, 0], 8).reshape(8, 8))
    many = build_splits(MasksConfig(root=str(tmp_path), classes=["no", "yes", "more"]), "segmentation")
    assert many.val[0].mask.max() == 255
