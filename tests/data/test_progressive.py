"""Images that grow while training: sizes by hand, and the same pixels from any number of workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from backbone.errors import InputError
from tasks.data.build import build_splits
from tasks.data.config import FolderConfig
from tasks.data.files.encoded import EncodedSample
from tasks.data.loading.loaders import Loaders
from tasks.data.loading.progressive import ProgressiveSampler
from tasks.data.loading.sampling import TrainingSampler, TransformedData
from tasks.data.transforms.build import growing_size, train_transform
from tasks.data.transforms.config import ImageNetTransformConfig, SSDTransformConfig
from tasks.data.transforms.growing import GrowingSize
from tasks.data.transforms.whole import EvalTransform
from tests.data.builders import jpeg, picture
from tests.e2e.command import tiny_run

if TYPE_CHECKING:
    from pathlib import Path

    from heads.structures import Batch

KINDS = {"classification": "classification"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Nine training images and one to evaluate, in two classes."""
    for split, count in (("train", 9), ("val", 1)):
        for number in range(count):
            for name in ("a", "b") if split == "val" else ("ab"[number % 2],):
                file = tmp_path / split / name / f"{number}.jpg"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(jpeg(picture(150 + number, 190)))
    return tmp_path


def module(root: Path, workers: int = 0, steps: int | None = 6) -> Loaders:
    """Three steps an epoch."""
    config = FolderConfig(root=str(root), batch_size=4, workers=workers)
    data = Loaders(
        build_splits(config, "classification"),
        config,
        ImageNetTransformConfig(image_size=96, progressive=32, stages=3),
        KINDS,
        5,
    )
    data.steps = steps
    return data


def epochs(data: Loaders, *numbers: int) -> list[Batch]:
    """Of one loader, whose workers persist."""
    loader = data.train()
    assert isinstance(loader.sampler, TrainingSampler)
    batches = []
    for number in numbers:
        loader.sampler.set_epoch(number)
        batches += list(loader)
    return batches


@pytest.mark.parametrize(
    ("sizes", "steps", "expected"),
    [
        (GrowingSize(128, 224, 4), 8, [128, 128, 160, 160, 192, 192, 224, 224]),
        (GrowingSize(128, 224, 4), 10, [128, 128, 128, 160, 160, 192, 192, 192, 224, 224]),
        (GrowingSize(32, 225, 2), 3, [32, 32, 225]),
        (GrowingSize(64, 140, 3), 3, [64, 96, 140]),  # 102, down to a multiple of 32
        (GrowingSize(128, 224, 4), 2, [128, 192]),
        (GrowingSize(128, 224, 4), 1, [128]),
    ],
)
def test_sizes_of_the_stages(sizes: GrowingSize, steps: int, expected: list[int]) -> None:
    assert [sizes.at(step, steps) for step in range(steps)] == expected
    assert sizes.at(steps + 5, steps) == sizes.end


def test_positions_and_seeds_are_those_of_one_size() -> None:
    grows = ProgressiveSampler(9, 4, 5, 0, 1, sizes=GrowingSize(32, 96, 3), steps=6)
    plain = TrainingSampler(9, 4, 5)
    for epoch in (0, 1):
        grows.set_epoch(epoch)
        plain.set_epoch(epoch)
        assert [key[:2] for key in grows] == list(plain)
    assert len(grows) == len(plain) == 10  # a last batch of one gets a second image


def test_sizes_on_two_ranks_are_alike() -> None:
    ranks = [ProgressiveSampler(10, 2, 5, rank, 2, sizes=GrowingSize(32, 96, 3), steps=6) for rank in (0, 1)]
    first, second = ([key[2] for key in sampler] for sampler in ranks)
    assert first == second == [32, 32, 32, 32, 64, 64]


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_grow_and_are_the_same_with_workers(root: Path, workers: int) -> None:
    """Both epochs come from the same workers, which hold a transform of 96 pixels."""
    without, with_workers = epochs(module(root), 0, 1), epochs(module(root, workers), 0, 1)
    assert [batch.images.shape[2:] for batch in without] == [(side, side) for side in (32, 32, 64, 64, 96, 96)]
    for a, b in zip(without, with_workers, strict=True):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.image_ids, b.image_ids)


def test_a_later_epoch_alone_is_the_same(root: Path) -> None:
    """As after a resumed training."""
    for a, b in zip(epochs(module(root), 0, 1)[3:], epochs(module(root), 1), strict=True):
        assert torch.equal(a.images, b.images)


def test_before_the_steps_are_known_images_have_their_last_size(root: Path) -> None:
    data = module(root, steps=None)
    assert {batch.images.shape[2:] for batch in epochs(data, 0)} == {(96, 96)}
    data.steps = 6
    assert len(data.train()) == 3
    (batch,) = data.evaluation(data.splits.val)
    assert batch.images.shape[2:] == (96, 96)


def test_a_crop_at_another_size_is_the_crop_of_that_size(root: Path) -> None:
    source = module(root).splits.train
    config = ImageNetTransformConfig(image_size=96, photometric=True)
    small = train_transform(ImageNetTransformConfig(image_size=64, photometric=True))
    for seed in range(5):
        image = TransformedData(source, train_transform(config))[(3, seed, 64)].image
        np.testing.assert_array_equal(image, TransformedData(source, small)[(3, seed)].image)
    assert isinstance(source.encoded(0), EncodedSample)  # type: ignore[attr-defined]


def test_a_transform_of_one_size_says_so(root: Path) -> None:
    with pytest.raises(AssertionError, match="EvalTransform makes images of one size"):
        TransformedData(module(root).splits.train, EvalTransform(32))[(0, 0, 64)]


@pytest.mark.parametrize("progressive", [0, 48, 96, 128])
def test_a_start_that_does_not_fit(progressive: int) -> None:
    message = rf"transform.progressive={progressive}: must be a multiple of 32 below transform.image_size=96, or null"
    with pytest.raises(InputError, match=message):
        ImageNetTransformConfig(image_size=96, progressive=progressive)


def test_one_stage_does_not_grow() -> None:
    with pytest.raises(InputError, match=r"transform.stages=1: must be at least 2"):
        ImageNetTransformConfig(stages=1)
    assert growing_size(ImageNetTransformConfig()) is None
    assert growing_size(SSDTransformConfig()) is None


def test_through_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("transform.progressive=32", "transform.stages=2", "transform.cutmix=1.0", "data.workers=1")
    assert tiny_run(monkeypatch, tmp_path, "task=classification", *words) == 0
