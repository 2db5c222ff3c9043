"""Masks in VOC's colours. The colours are those printed in the development kit's documentation."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image

from backbone.errors import InputError
from tasks.drawing.contact_sheet import contact_sheet
from tasks.drawing.masks import VOC_PALETTE, draw_mask, legend, voc_colour, write_palette_png
from tasks.drawing.pairs import mask_pair
from tests.real_data import ROOT, THERE

NAMES = ("background", "aeroplane", "bicycle", "bird")


def grey(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 100, np.uint8)


@pytest.mark.parametrize(
    ("label", "colour"),
    [
        (0, (0, 0, 0)),
        (1, (128, 0, 0)),
        (2, (0, 128, 0)),
        (3, (128, 128, 0)),
        (7, (128, 128, 128)),
        (8, (64, 0, 0)),
        (15, (192, 128, 128)),
        (20, (0, 64, 128)),
        (255, (224, 224, 192)),
    ],
)
def test_colours_are_vocs(label: int, colour: tuple[int, int, int]) -> None:
    assert voc_colour(label) == tuple(VOC_PALETTE[label]) == colour


def test_all_colours_differ() -> None:
    assert len(np.unique(VOC_PALETTE, axis=0)) == 256


@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (40, 50)])
def test_a_palette_png_holds_the_labels(shape: tuple[int, int], tmp_path) -> None:
    mask = np.random.default_rng(0).choice(np.array([*range(21), 255], np.uint8), size=shape)
    path = write_palette_png(mask, tmp_path / "new" / "2007_000033.png")
    with Image.open(path) as read:
        assert (read.mode, read.format, read.size) == ("P", "PNG", (shape[1], shape[0]))
        assert np.array_equal(np.asarray(read), mask)
        assert read.getpalette() == VOC_PALETTE.flatten().tolist()
        assert np.array_equal(np.asarray(read.convert("RGB")), VOC_PALETTE[mask])
    assert [p.name for p in path.parent.iterdir()] == ["2007_000033.png"]


@pytest.mark.real_data
@THERE
def test_vocs_own_masks_have_this_palette(tmp_path) -> None:
    for path in sorted((ROOT / "VOCdevkit/VOC2012/SegmentationClass").glob("*.png"))[::25]:
        with Image.open(path) as theirs, Image.open(path) as again:
            written = write_palette_png(np.asarray(again), tmp_path / path.name)
            with Image.open(written) as ours:
                assert (ours.mode, ours.size) == (theirs.mode, theirs.size)
                assert np.array_equal(np.asarray(ours.convert("RGB")), np.asarray(theirs.convert("RGB")))


def test_every_second_column_of_a_mask_can_be_written(tmp_path) -> None:
    mask = np.arange(24, dtype=np.uint8).reshape(4, 6)[:, ::2]
    with Image.open(write_palette_png(mask, tmp_path / "m.png")) as read:
        assert np.array_equal(np.asarray(read), mask)


def test_a_mask_that_cannot_be_written(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"m\.png: cannot be written \(.*\); choose a folder that you may write to$"):
        write_palette_png(np.zeros((2, 2), np.uint8), tmp_path / "file" / "m.png")


def test_an_overlay_tints_areas_and_draws_their_borders() -> None:
    mask = np.zeros((9, 12), np.uint8)
    mask[:, 6:] = 2
    mask[:, 10:] = 255
    image = grey(9, 12)
    drawn = draw_mask(image, mask, NAMES)
    assert (image == 100).all()
    assert (drawn[:, :6] == 100).all()  # background stays
    assert (drawn[:, 6] == voc_colour(2)).all()
    assert (drawn[:, 7:9] == (40, 117, 40)).all()  # 0.4 x 100 + 0.6 x (0, 128, 0)
    assert (drawn[:, 9] == voc_colour(2)).all()
    assert (drawn[:, 10] == voc_colour(255)).all()
    assert (draw_mask(image, mask, ("road", "car", "sky"))[:, 0] == 40).all()


def test_one_pixel_and_nothing_but_void() -> None:
    assert draw_mask(grey(1, 1), np.array([[1]], np.uint8), NAMES).tolist() == [[[117, 40, 40]]]
    assert draw_mask(grey(2, 2), np.full((2, 2), 255, np.uint8), NAMES).shape == (2, 2, 3)


def test_a_mask_of_another_size() -> None:
    message = "drawing: a mask of (2, 3) on an image of (2, 2); both must be of one size"
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        draw_mask(grey(2, 2), np.zeros((2, 3), np.uint8), NAMES)


def test_the_legend_names_what_occurs() -> None:
    masks = [np.array([[0, 3]], np.uint8), np.array([[255, 1]], np.uint8)]
    assert legend(NAMES, masks) == [
        ("aeroplane", (128, 0, 0)),
        ("bird", (128, 128, 0)),
        ("void", (224, 224, 192)),
    ]
    assert legend(("road", "car"), masks[:0]) == []
    assert legend(("road", "car"), [np.zeros((1, 1), np.uint8)]) == [("road", (0, 0, 0))]
    with pytest.raises(InputError, match=r"^drawing: a mask has value 3; must be 0 \.\. 1, or 255 for void$"):
        legend(("road", "car"), masks)


def test_truth_beside_prediction_on_a_sheet(tmp_path) -> None:
    truth, prediction = np.zeros((40, 50), np.uint8), np.zeros((40, 50), np.uint8)
    truth[:, 10:], truth[:20, :25] = 1, 255
    prediction[:, 30:] = 2
    pair = mask_pair(grey(40, 50), truth, prediction, names=NAMES, caption="a.jpg")
    assert (pair.truth_caption, pair.prediction_caption) == ("a.jpg", "13.3 % of the pixels right")  # 200 of 1500
    path = contact_sheet([pair], tmp_path / "s.png", legend=legend(NAMES, [truth, prediction]))
    with Image.open(path) as read:
        sheet = np.asarray(read.convert("RGB"))
    left, right = sheet[:, : sheet.shape[1] // 2], sheet[:, sheet.shape[1] // 2 :]
    tints = [(117, 40, 40), (40, 117, 40)]
    assert [bool((left == tint).all(axis=-1).any()) for tint in tints] == [True, False]
    assert [bool((right == tint).all(axis=-1).any()) for tint in tints] == [False, True]
    void = np.full((4, 4), 255, np.uint8)
    assert mask_pair(grey(4, 4), void, void, names=NAMES, caption="b").prediction_caption == "all void"
