"""Scaled crops and whole images. The oracle is an image that spells out its own mask, and arithmetic by hand."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backbone.errors import InputError
from tasks.data.sample import Sample
from tasks.data.transforms.deeplab import ScalingCrops
from tasks.data.transforms.whole import WholeImage
from tests.data.builders import picture, sample

VOID, FILL = 255, 128


def coded(height: int, width: int, seed: int = 0) -> Sample:
    """Blocks of 8 pixels, each of a class 0 .. 6 whose 36-fold is the grey of its pixels; none of them is the fill."""
    classes = np.random.default_rng(seed).integers(0, 7, (-(-height // 8), -(-width // 8))).astype(np.uint8)
    mask = np.kron(classes, np.ones((8, 8), np.uint8))[:height, :width]
    image = np.repeat(36 * mask[..., None], 3, axis=2)
    return Sample(image=image, image_id=3, size=(height, width), mask=np.ascontiguousarray(mask))


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    return coded(draw(st.integers(1, 120)), draw(st.integers(1, 120)), draw(st.integers(0, 9)))


def inner(inside: np.ndarray) -> np.ndarray:
    """Pixels whose 5 x 5 neighbourhood is all `inside`."""
    return cv2.erode(inside.astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=0) > 0


@settings(max_examples=60, deadline=None)
@given(item=samples(), seed=st.integers(0, 2**32 - 1), size=st.sampled_from([1, 33, 64, 130]))
def test_image_and_mask_stay_aligned_and_void_is_only_where_padded(item: Sample, seed: int, size: int) -> None:
    assert item.mask is not None
    before = item.image.copy(), item.mask.copy()
    out = ScalingCrops(size)(item, seed)
    assert out.mask is not None
    assert (out.image.shape, out.image.dtype) == ((size, size, 3), np.uint8)
    assert (out.mask.shape, out.mask.dtype) == ((size, size), np.uint8)
    assert (out.image_id, out.size) == (3, item.size)
    padded = out.mask == VOID
    assert (out.image[padded] == FILL).all()
    rows, columns = (~padded).any(axis=1), (~padded).any(axis=0)
    np.testing.assert_array_equal(~padded, rows[:, None] & columns)
    assert rows.any()
    assert set(np.unique(out.mask)) <= set(np.unique(item.mask)) | {VOID}
    for value in np.unique(out.mask[~padded]):
        area = inner(out.mask == value)
        assert (out.image[area] == 36 * value).all()
    np.testing.assert_array_equal(item.image, before[0])
    np.testing.assert_array_equal(item.mask, before[1])


@settings(max_examples=30, deadline=None)
@given(item=samples(), seed=st.integers(0, 99), size=st.integers(1, 70))
def test_flipping_twice_is_the_identity(item: Sample, seed: int, size: int) -> None:
    never = ScalingCrops(size, flip=0.0)(item, seed)
    once = ScalingCrops(size, flip=1.0)(item, seed)
    assert never.mask is not None
    assert once.mask is not None
    np.testing.assert_array_equal(once.image[:, ::-1], never.image)
    np.testing.assert_array_equal(once.mask[:, ::-1], never.mask)
    again = ScalingCrops(size, scales=(1.0, 1.0), flip=1.0)
    twice = again(again(never, seed), seed)
    np.testing.assert_array_equal(twice.image, never.image)
    np.testing.assert_array_equal(twice.mask, never.mask)


def test_same_seed_same_result_in_any_order() -> None:
    item = replace(coded(90, 70), image=picture(90, 70))
    apply, other = ScalingCrops(48, photometric=True), ScalingCrops(48, photometric=True)
    first = [apply(item, seed) for seed in range(10)]
    for seed in (7, 3, 9, 0):
        again = other(item, seed)
        np.testing.assert_array_equal(again.image, first[seed].image)
        np.testing.assert_array_equal(again.mask, first[seed].mask)
    assert len({out.image.tobytes() for out in first}) == 10


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_an_image_smaller_than_the_crop_is_there_as_a_whole(scale: float) -> None:
    item = coded(40, 56)
    height, width = round(40 * scale), round(56 * scale)
    corners = set()
    for seed in range(20):
        out = ScalingCrops(120, scales=(scale, scale), flip=0.0)(item, seed)
        assert out.mask is not None
        rows, columns = np.nonzero(out.mask != VOID)
        top, left = rows.min(), columns.min()
        assert (rows.max() + 1 - top, columns.max() + 1 - left) == (height, width)
        assert len(rows) == height * width
        wanted = cv2.resize(item.image, (width, height), interpolation=cv2.INTER_LINEAR)
        np.testing.assert_array_equal(out.image[top : top + height, left : left + width], wanted)
        corners.add((top, left))
    assert len(corners) > 10


def test_a_crop_at_scale_one_is_a_cut() -> None:
    item = replace(coded(100, 90), image=np.random.default_rng(0).integers(0, 256, (100, 90, 3)).astype(np.uint8))
    places = set()
    for seed in range(40):
        out = ScalingCrops(64, scales=(1.0, 1.0), flip=0.0)(item, seed)
        found = [
            (top, left)
            for top in range(37)
            for left in range(27)
            if np.array_equal(item.image[top, left], out.image[0, 0])
            and np.array_equal(item.image[top : top + 64, left : left + 64], out.image)
        ]
        assert len(found) == 1
        top, left = found[0]
        np.testing.assert_array_equal(out.mask, item.mask[top : top + 64, left : left + 64])
        places.add(found[0])
    assert max(top for top, _ in places) > 30
    assert min(top for top, _ in places) < 6


def test_scales_fill_their_range() -> None:
    """A mask of one class in a large frame: the area that it covers is the square of the scale."""
    item = coded(50, 50)
    apply = ScalingCrops(100, flip=0.0)
    areas = [(apply(item, seed).mask != VOID).sum() for seed in range(200)]
    found = np.sqrt(areas) / 50
    assert 0.49 < found.min() < 0.55
    assert 1.95 < found.max() < 2.01
    assert 1.15 < found.mean() < 1.35


def test_one_pixel() -> None:
    item = Sample(np.full((1, 1, 3), 9, np.uint8), 1, (1, 1), mask=np.full((1, 1), 4, np.uint8))
    for seed in range(10):
        out = ScalingCrops(8)(item, seed)
        assert (out.image[out.mask == 4] == 9).all()
        assert 1 <= (out.mask == 4).sum() <= 4
    assert WholeImage(4)(item).image.shape == (1, 1, 3)


def test_boxes_and_classes_go_along() -> None:
    item = replace(sample(40, 40, [[0, 0, 40, 40]]), class_index=2)
    for seed in range(10):
        out = ScalingCrops(100, scales=(1.5, 1.5))(item, seed)
        sides = out.boxes_xyxy_px[0, 2:] - out.boxes_xyxy_px[0, :2]
        np.testing.assert_allclose(sides, [60, 60], atol=1e-3)
        assert (out.class_index, out.mask) == (2, None)


def test_photometric_changes_colours_only() -> None:
    item = replace(coded(60, 60), image=picture(60, 60))
    plain, varied = (ScalingCrops(50, photometric=on, flip=0.0) for on in (False, True))
    changed = 0
    for seed in range(20):
        a, b = plain(item, seed), varied(item, seed)
        np.testing.assert_array_equal(a.mask, b.mask)
        changed += not np.array_equal(a.image, b.image)
    assert 8 < changed <= 20


def test_whole_image() -> None:
    item = coded(60, 90)
    assert WholeImage()(item, 7) is item
    assert WholeImage(90)(item) is item
    out = WholeImage(45)(replace(item, boxes_xyxy_px=np.array([[10, 20, 30, 40]], np.float32)))
    assert out.image.shape == (30, 45, 3)
    np.testing.assert_array_equal(out.image, cv2.resize(item.image, (45, 30), interpolation=cv2.INTER_LINEAR))
    np.testing.assert_array_equal(out.mask, item.mask)
    np.testing.assert_allclose(out.boxes_xyxy_px, [[5, 10, 15, 20]])
    assert out.size == (60, 90)
    assert WholeImage(10)(coded(1, 100)).image.shape == (1, 10, 3)


@pytest.mark.parametrize("scales", [(0.0, 1.0), (2.0, 0.5), (1.0, float("inf")), (1.0, float("nan")), (1.0,)])
def test_impossible_scales(scales: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match=r"scales=\(.*\): must be two positive numbers, the smaller one first"):
        ScalingCrops(64, scales=scales)


def test_impossible_side() -> None:
    with pytest.raises(InputError, match="max_side=0: must be at least 1 pixel; leave it out"):
        WholeImage(0)


def test_window_of_no_kind() -> None:
    from tasks.data.transforms.ssd import WindowStep

    with pytest.raises(TypeError, match=r"abstract class WindowStep .*choose"):
        WindowStep(8)
