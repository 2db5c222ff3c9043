"""How often images of rare classes are seen, by arithmetic by hand."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from backbone.errors import InputError
from tasks.data.config import FolderConfig
from tasks.data.loading.balanced import classes_of_images, drawn, draws
from tasks.data.loading.sampling import TrainingSampler

if TYPE_CHECKING:
    from numpy.typing import NDArray


def one_each(*counts: int) -> list[NDArray[np.int64]]:
    """Images of one class each, so many of every class."""
    return [np.array([label]) for label, count in enumerate(counts) for _ in range(count)]


def test_every_class_is_seen_equally_often() -> None:
    """60, 30 and 10 images of 100: a pass sees 33.3 of each, so an image 0.56, 1.11 and 3.33 times."""
    expected = draws(one_each(60, 30, 10), 1.0)
    assert expected.tolist() == pytest.approx([100 / 3 / 60] * 60 + [100 / 3 / 30] * 30 + [100 / 3 / 10] * 10)


def test_between_it_is_repeat_factor_sampling() -> None:
    """LVIS repeats an image sqrt(t / f) times, f the share of its rarest class; here t is 1."""
    present = [np.array([0]), np.array([0, 1]), np.array([], dtype=np.int64), np.array([0])]
    repeats = np.sqrt([1 / (3 / 4), 1 / (1 / 4), 1.0, 1 / (3 / 4)])
    assert draws(present, 0.5).tolist() == pytest.approx((repeats * 4 / repeats.sum()).tolist())


def test_no_image_is_seen_more_than_ten_times_as_often() -> None:
    expected = draws(one_each(999, 1), 1.0)
    assert expected[-1] / expected[0] == pytest.approx(10.0)
    assert expected.sum() == pytest.approx(1000)


def test_a_pass_rounds_up_or_down() -> None:
    expected = np.array([0.25, 0.5, 0.25, 3.0, 1.0])
    totals = Counter[int]()
    for seed in range(400):
        found = drawn(expected, np.random.default_rng(seed))
        assert len(found) == 5
        counts = np.bincount(found, minlength=5)
        assert (np.floor(expected) <= counts).all()
        assert (counts <= np.ceil(expected)).all()
        totals.update(found.tolist())
    # Standard deviations of a share p of 400 are below sqrt(400 p (1 - p)) = 10; five of them are left.
    assert [totals[position] / 400 for position in range(5)] == pytest.approx(expected.tolist(), abs=0.125)


def test_sampler_is_the_same_for_a_seed_and_shared_by_processes() -> None:
    expected = draws(one_each(6, 2), 1.0)

    def positions(epoch: int, rank: int = 0, world_size: int = 1) -> list[int]:
        sampler = TrainingSampler(8, 4, 0, rank, world_size, expected=expected)
        sampler.set_epoch(epoch)
        return [position for position, _ in sampler]

    assert positions(3) == positions(3) != positions(4)
    halves = zip(positions(3, 0, 2), positions(3, 1, 2), strict=True)
    assert [position for pair in halves for position in pair] == positions(3)
    assert sum(position >= 6 for position in positions(3)) == 4  # two images of eight, half of what is seen


def test_classes_of_images_of_every_kind() -> None:
    classes = SimpleNamespace(classes=lambda: np.array([2, 0]))
    assert [found.tolist() for found in classes_of_images(classes, "classification")] == [[2], [0]]  # type: ignore[arg-type]
    nothing = np.zeros((0, 4)), np.zeros(0, np.int64)
    boxes = SimpleNamespace(boxes=lambda: [(np.zeros((3, 4)), np.array([1, 5, 1])), nothing])
    assert [found.tolist() for found in classes_of_images(boxes, "detection")] == [[1, 5], []]  # type: ignore[arg-type]
    masks = [SimpleNamespace(mask=np.array([[0, 255], [7, 7]], dtype=np.uint8))]
    assert [found.tolist() for found in classes_of_images(masks, "segmentation")] == [[0, 7]]  # type: ignore[arg-type]


def test_bad_strength_is_named() -> None:
    with pytest.raises(InputError, match=r"data.balanced_sampling=2: must be from 0 to 1"):
        FolderConfig(root="x", balanced_sampling=2)
