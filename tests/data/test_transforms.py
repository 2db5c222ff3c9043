"""Resizing and augmentation. The oracle is geometry: a coloured rectangle must still lie in its box."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tasks.data.transforms.config import SSDTransformConfig
from tasks.data.transforms.ssd import MASK_FILL, TrainTransform
from tasks.data.transforms.whole import EvalTransform
from tests.data.builders import sample

if TYPE_CHECKING:
    from tasks.data.sample import Sample

OFF = {"photometric": False, "zoom_out": 0.0, "crop": 0.0, "flip": 0.0}


def transform(size: int, **on: float) -> TrainTransform:
    return TrainTransform(SSDTransformConfig(image_size=size, **(OFF | on)))


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    height, width = draw(st.integers(1, 90)), draw(st.integers(1, 90))
    boxes = []
    for _ in range(draw(st.integers(0, 5))):
        left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
        boxes.append([left, top, draw(st.integers(left + 1, width)), draw(st.integers(top + 1, height))])
    return sample(height, width, boxes, seed=draw(st.integers(0, 9)))


def flat(height: int, width: int, box: tuple[int, int, int, int]) -> Sample:
    """Black, with one white object that fills its box."""
    item = sample(height, width, [list(box)])
    item.image[:] = 0
    item.image[box[1] : box[3], box[0] : box[2]] = 255
    item.mask = (item.image[..., 0] > 0).astype(np.uint8)
    return item


def same(a: Sample, b: Sample) -> bool:
    return (
        np.array_equal(a.image, b.image)
        and np.array_equal(a.boxes_xyxy_px, b.boxes_xyxy_px)
        and np.array_equal(a.labels, b.labels)
    )


@settings(max_examples=40, deadline=None)
@given(item=samples(), seed=st.integers(0, 2**32 - 1))
def test_boxes_stay_in_range_and_keep_their_labels(item: Sample, seed: int) -> None:
    before = item.image.copy()
    for apply in (
        EvalTransform(48),
        TrainTransform(SSDTransformConfig(image_size=48)),
        TrainTransform(SSDTransformConfig(image_size=48, zoom_out=1.0, crop=1.0)),
    ):
        out = apply(item, seed)
        assert (out.image.shape, out.image.dtype) == ((48, 48, 3), np.uint8)
        assert out.image.flags["C_CONTIGUOUS"]
        assert out.boxes_xyxy_px.shape == (len(out.labels), 4)
        assert out.boxes_xyxy_px.dtype == np.float32
        assert (out.boxes_xyxy_px >= 0).all()
        assert (out.boxes_xyxy_px <= 48).all()
        assert (out.boxes_xyxy_px[:, 2:] > out.boxes_xyxy_px[:, :2]).all()
        assert out.labels.dtype == np.int64
        assert set(out.labels.tolist()) <= set(item.labels.tolist())
        np.testing.assert_array_equal(out.crowd, out.labels == 1)
        assert (out.image_id, out.size) == (item.image_id, item.size)
    np.testing.assert_array_equal(item.image, before)


@settings(max_examples=25, deadline=None)
@given(item=samples(), seed=st.integers(0, 99))
def test_flipping_twice_is_the_identity(item: Sample, seed: int) -> None:
    flip, still = transform(60, flip=1.0), transform(60)
    once, never = flip(item, seed), still(item, seed)
    np.testing.assert_array_equal(once.image, never.image[:, ::-1])
    # A box of one pixel, the least that is kept, may be rounded to less.
    assume((never.boxes_xyxy_px[:, 2:] - never.boxes_xyxy_px[:, :2] > 1.001).all())
    twice = flip(once, seed)
    np.testing.assert_array_equal(twice.image, never.image)
    np.testing.assert_allclose(twice.boxes_xyxy_px, never.boxes_xyxy_px, atol=1e-3)
    np.testing.assert_array_equal(twice.labels, never.labels)


def test_stretched_to_a_square() -> None:
    item = sample(100, 200, [[20, 10, 120, 60], [0, 0, 200, 100]])
    for out in (EvalTransform(50)(item), transform(50)(item, 3)):
        np.testing.assert_allclose(out.boxes_xyxy_px, [[5, 5, 30, 30], [0, 0, 50, 50]], atol=1e-4)
        np.testing.assert_array_equal(out.image, cv2.resize(item.image, (50, 50), interpolation=cv2.INTER_AREA))
    same_size = EvalTransform(100)(sample(100, 100, []))
    np.testing.assert_array_equal(same_size.image, sample(100, 100, []).image)


def test_fine_pattern_is_averaged_and_not_sampled() -> None:
    item = sample(300, 300, [])
    item.image[:] = (np.indices((300, 300)).sum(axis=0) % 2 * 255)[..., None]
    out = EvalTransform(60)(item).image
    assert out.min() > 120
    assert out.max() < 135


@pytest.mark.parametrize(("name", "probability"), [("zoom_out", 1.0), ("crop", 1.0), ("flip", 0.5)])
def test_the_object_still_lies_in_its_box(name: str, probability: float) -> None:
    apply = transform(96, **{name: probability})
    item = flat(80, 120, (30, 20, 90, 56))
    seen = 0
    for seed in range(60):
        out = apply(item, seed)
        if not len(out.labels):
            continue
        seen += 1
        white = out.image[..., 0] > 191
        assert out.mask is not None
        np.testing.assert_array_equal(np.unique(out.mask[white]), [1])
        rows, columns = np.nonzero(white)
        edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(out.boxes_xyxy_px[0], edges, atol=1.6)
    assert seen == 60


def test_zoom_out_surrounds_the_image_with_grey() -> None:
    item = flat(60, 60, (0, 0, 60, 60))
    shares = []
    for seed in range(40):
        out = transform(64, zoom_out=1.0)(item, seed)
        assert out.mask is not None
        outside = out.mask == MASK_FILL
        assert (out.image[outside] == 128).all()
        assert (out.image[~outside] == 255).all()
        shares.append(1 - outside.mean())
    assert min(shares) < 0.12
    assert max(shares) > 0.5


def test_crop_keeps_an_object_and_drops_those_whose_centre_is_left_out() -> None:
    item = sample(100, 100, [[5, 5, 25, 25], [60, 60, 95, 95]])
    kept = [tuple(transform(80, crop=1.0)(item, seed).labels.tolist()) for seed in range(80)]
    assert set(kept) == {(0,), (1,), (0, 1)}


def test_images_without_objects_are_cropped_too() -> None:
    item = sample(100, 100, [])
    outs = [transform(80, crop=1.0, zoom_out=0.5)(item, seed) for seed in range(30)]
    assert all(out.boxes_xyxy_px.shape == (0, 4) for out in outs)
    assert len({out.image.tobytes() for out in outs}) > 20


def test_boxes_below_a_pixel_are_dropped_and_counted() -> None:
    item = sample(200, 200, [[10, 10, 13, 60], [10, 10, 90, 90]])
    apply = transform(40)
    assert apply(item, 0).labels.tolist() == [1]
    assert apply.dropped == 1
    assert EvalTransform(40)(item).labels.tolist() == [0, 1]


def test_photometric_changes_colours_only() -> None:
    item = sample(50, 50, [[5, 5, 25, 25]])
    outs = [transform(50, photometric=True)(item, seed) for seed in range(20)]
    assert len({out.image.tobytes() for out in outs}) > 8
    for out in outs:
        np.testing.assert_allclose(out.boxes_xyxy_px, item.boxes_xyxy_px, atol=1e-4)


def test_same_seed_same_result_in_any_order() -> None:
    item = sample(90, 70, [[5, 5, 25, 25], [30, 30, 60, 80]])
    apply, other = TrainTransform(SSDTransformConfig(image_size=64)), TrainTransform(SSDTransformConfig(image_size=64))
    first = [apply(item, seed) for seed in range(10)]
    for seed in (7, 3, 9, 0):
        assert same(other(item, seed), first[seed])
    assert len({out.image.tobytes() for out in first}) == 10


def test_flip_does_not_follow_the_other_choices() -> None:
    """Were all steps seeded alike, every flipped image would be one of changed hue."""
    item = sample(40, 40, [[2, 10, 12, 30]])
    outs = [transform(40, flip=0.5, photometric=True)(item, seed) for seed in range(60)]
    flipped = [out.boxes_xyxy_px[0, 0] > 20 for out in outs]
    plain = [np.array_equal(np.sort(out.image.ravel()), np.sort(item.image.ravel())) for out in outs]
    assert 15 < sum(flipped) < 45
    assert len(set(zip(flipped, plain, strict=True))) == 4


def test_mask_and_class_go_along() -> None:
    item = flat(64, 64, (0, 0, 32, 64))
    item.class_index = 4
    out = EvalTransform(32)(item)
    assert out.mask is not None
    assert (out.mask[:, :16] == 1).all()
    assert not out.mask[:, 16:].any()
    assert out.class_index == 4
    assert transform(32)(item, 0).class_index == 4


def test_importing_asks_no_network() -> None:
    """In a process of its own; without torch, which albumentations does not need and which takes seconds."""
    code = (
        "import socket, os, sys\n"
        "sys.modules['torch'] = None\n"
        "def refuse(*a, **k): raise SystemExit('network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "import tasks.data.transforms.ssd\n"
        "assert os.environ['NO_ALBUMENTATIONS_UPDATE'] == '1'\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "NO_ALBUMENTATIONS_UPDATE"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
