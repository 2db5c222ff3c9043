"""Collation, sampling and loaders."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
import torch

from backbone.errors import InputError
from heads.structures import Batch, DetectionTargets
from tasks.commands.preflight import report_small
from tasks.data.build import build_splits
from tasks.data.config import CocoConfig
from tasks.data.loading import loaders as loaders_module
from tasks.data.loading.collate import Collate
from tasks.data.loading.loaders import Loaders
from tasks.data.loading.sampling import EvaluationSampler, TrainingSampler, TransformedData
from tasks.data.loading.workers import clean_error, default_workers, start_worker
from tasks.data.transforms.config import SSDTransformConfig
from tasks.data.transforms.whole import EvalTransform
from tests.data.builders import box_entry, image_entry, sample, write_coco_split

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.data.sample import Sample
    from tasks.data.splits import DataSplits


def targets_of(batch: Batch) -> DetectionTargets:
    targets = batch.targets["detection"]
    assert isinstance(targets, DetectionTargets)
    return targets


def same(a: Batch, b: Batch) -> bool:
    first, second = targets_of(a), targets_of(b)
    return (
        torch.equal(a.images, b.images)
        and torch.equal(a.image_ids, b.image_ids)
        and torch.equal(first.boxes_xyxy_rel, second.boxes_xyxy_rel)
        and torch.equal(first.labels, second.labels)
    )


@pytest.fixture
def config(tmp_path: Path) -> CocoConfig:
    """Nine training images with 0, 1, 2, 0, 1, ... objects and five validation images."""
    for split, count in (("train2017", 9), ("val2017", 5)):
        boxes = [
            box_entry(10 * image + number, image, [5 * number, 4, 20, 30])
            for image in range(1, count + 1)
            for number in range((image - 1) % 3)
        ]
        write_coco_split(tmp_path, [image_entry(number) for number in range(1, count + 1)], boxes, split=split)
    return CocoConfig(root=str(tmp_path), batch_size=4, workers=0)


@pytest.fixture
def splits(config: CocoConfig) -> DataSplits:
    return build_splits(config, "detection")


COLLATE = Collate({"detection": "detection"})


def module_of(
    splits: DataSplits, config: CocoConfig, seed: int = 0, transform: SSDTransformConfig | None = None
) -> Loaders:
    return Loaders(splits, config, transform or SSDTransformConfig(image_size=32), COLLATE.kinds, seed)


def epoch(module: Loaders, number: int) -> list[Batch]:
    loader = module.train()
    assert isinstance(loader.sampler, TrainingSampler)
    loader.sampler.set_epoch(number)
    return list(loader)


def test_collate_pads_to_the_most_objects() -> None:
    samples = [sample(20, 40, [[4, 5, 20, 20], [0, 0, 40, 20]], seed=3), sample(20, 40, [], seed=4)]
    batch = COLLATE(samples)
    targets = targets_of(batch)
    assert (batch.images.shape, batch.images.dtype) == ((2, 3, 20, 40), torch.uint8)
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_array_equal(batch.images[1].permute(1, 2, 0).numpy(), samples[1].image)
    assert targets.boxes_xyxy_rel.dtype == torch.float32
    expected = [[[0.1, 0.25, 0.5, 1], [0, 0, 1, 1]], [[0] * 4, [0] * 4]]
    torch.testing.assert_close(targets.boxes_xyxy_rel, torch.tensor(expected))
    assert targets.labels.tolist() == [[0, 1], [-1, -1]]
    assert targets.crowd.tolist() == [[False, True], [False, False]]
    assert batch.sizes.tolist() == [[20, 40], [20, 40]]
    assert batch.image_ids.tolist() == [3, 4]


def test_collate_without_any_object() -> None:
    targets = targets_of(COLLATE([sample(8, 8, []), sample(8, 8, [])]))
    assert targets.boxes_xyxy_rel.shape == (2, 0, 4)
    assert targets.labels.shape == targets.crowd.shape == (2, 0)


@pytest.mark.parametrize(("length", "world_size"), [(10, 1), (10, 3), (7, 2), (2, 3), (1, 1)])
def test_every_image_is_trained_on_in_every_epoch(length: int, world_size: int) -> None:
    samplers = [TrainingSampler(length, 4, seed=5, rank=rank, world_size=world_size) for rank in range(world_size)]
    keys = [list(sampler) for sampler in samplers]
    assert len({len(part) for part in keys}) == 1
    assert [len(part) for part in keys] == [len(sampler) for sampler in samplers]
    assert {position for part in keys for position, _ in part} == set(range(length))
    assert all(len(part) % 4 != 1 for part in keys)


def test_a_batch_size_of_one_is_left_alone() -> None:
    assert len(list(TrainingSampler(5, 1, seed=0))) == 5


def test_order_and_seeds_follow_from_seed_and_epoch() -> None:
    def keys(seed: int, number: int) -> list[tuple[int, int]]:
        sampler = TrainingSampler(20, 4, seed)
        sampler.set_epoch(number)
        return list(sampler)

    assert keys(0, 3) == keys(0, 3)
    assert len({tuple(keys(seed, number)) for seed in range(3) for number in range(3)}) == 9
    assert len({seed for number in range(3) for _, seed in keys(0, number)}) == 60


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
def test_every_image_is_evaluated_once(world_size: int) -> None:
    parts = [list(EvaluationSampler(5, rank, world_size)) for rank in range(world_size)]
    assert sorted(position for part in parts for position in part) == [0, 1, 2, 3, 4]
    assert [len(EvaluationSampler(5, rank, world_size)) for rank in range(world_size)] == [len(part) for part in parts]


def test_plain_positions_are_their_own_seed(splits: DataSplits) -> None:
    seen: list[int] = []

    def transform(item: Sample, seed: int) -> Sample:
        seen.append(seed)
        return item

    data = TransformedData(splits.train, transform)
    assert data[3].image_id == data[(3, 77)].image_id == 4
    assert seen == [3, 77]
    assert len(data) == 9


def test_the_same_batches_for_any_number_of_workers(splits: DataSplits, config: CocoConfig) -> None:
    plain = epoch(module_of(splits, config, seed=1), 2)
    config.workers = 2
    module = module_of(splits, config, seed=1)
    loader = module.train()
    assert isinstance(loader.sampler, TrainingSampler)
    for number in (2, 0, 2):
        loader.sampler.set_epoch(number)
        batches = list(loader)
        assert all(same(a, b) for a, b in zip(batches, plain, strict=True)) == (number == 2)
    assert [len(batch.images) for batch in plain] == [4, 4, 2]


def test_seed_and_epoch_change_the_batches(splits: DataSplits, config: CocoConfig) -> None:
    first = epoch(module_of(splits, config, seed=1), 0)
    assert all(same(a, b) for a, b in zip(first, epoch(module_of(splits, config, seed=1), 0), strict=True))
    for other in (epoch(module_of(splits, config, seed=1), 1), epoch(module_of(splits, config, seed=2), 0)):
        assert not any(same(a, b) for a, b in zip(first, other, strict=True))


def test_evaluation_sees_everything_in_order_unchanged(splits: DataSplits, config: CocoConfig) -> None:
    module = module_of(splits, config)
    batches = list(module.evaluation(splits.val))
    assert [batch.image_ids.tolist() for batch in batches] == [[1, 2, 3, 4], [5]]
    expected = EvalTransform(32)(splits.val[4])
    np.testing.assert_array_equal(batches[1].images[0].permute(1, 2, 0).numpy(), expected.image)
    assert targets_of(batches[0]).labels.tolist() == [[-1, -1], [1, -1], [1, 1], [-1, -1]]
    assert len(list(module.evaluation(splits.train))) == 3


def test_ranks_share_the_images(splits: DataSplits, config: CocoConfig) -> None:
    seen = []
    for rank in range(2):
        module = Loaders(splits, config, SSDTransformConfig(image_size=32), COLLATE.kinds, rank=rank, world_size=2)
        seen += [batch.image_ids for batch in module.evaluation(splits.val)]
    assert sorted(torch.cat(seen).tolist()) == [1, 2, 3, 4, 5]


def test_objects_too_small_are_counted(splits: DataSplits, caplog: pytest.LogCaptureFixture) -> None:
    report_small(splits.train, 32)
    assert not caplog.records
    report_small(splits.train, 2)
    (record,) = caplog.records
    assert "9 of 9 training objects are narrower than 1 pixel at transform.image_size=2" in record.getMessage()


@pytest.mark.parametrize("workers", [0, 1])
def test_error_of_a_worker_reads_as_it_was_raised(splits: DataSplits, config: CocoConfig, workers: int) -> None:
    file = splits.val.path(3)
    file.write_bytes(file.read_bytes()[:-40])
    config.workers = workers
    with pytest.raises(InputError, match="broken JPEG") as raised:
        list(module_of(splits, config).evaluation(splits.val))
    assert ("Traceback" in str(raised.value)) == (workers > 0)
    message = str(clean_error(raised.value))
    assert message.startswith(f"{file}: broken JPEG (")
    assert message.endswith("take it out of the data set")
    assert "\n" not in message


def settings_of_process() -> tuple[bool, int, int]:
    return signal.getsignal(signal.SIGINT) is signal.SIG_IGN, cv2.getNumThreads(), torch.get_num_threads()


def test_workers_are_quiet_and_single_threaded() -> None:
    cv2.setNumThreads(1)
    with ProcessPoolExecutor(1, initializer=start_worker, initargs=(0,)) as pool:
        assert pool.submit(settings_of_process).result() == (True, 1, 1)


def test_workers_start_in_a_process_that_used_threads_of_opencv(splits: DataSplits, config: CocoConfig) -> None:
    """A notebook that resized an image before: OpenCV's threads do not survive a fork, and waiting for them hangs."""
    cv2.setNumThreads(4)
    cv2.warpAffine(np.zeros((2000, 2000, 3), np.uint8), np.eye(2, 3), (2000, 2000))
    config.workers = 1
    assert len(list(module_of(splits, config).evaluation(splits.val))) == 2


@pytest.mark.parametrize(("cores", "devices", "expected"), [(1, 1, 1), (2, 1, 1), (4, 1, 3), (64, 1, 8), (16, 4, 3)])
def test_default_workers(monkeypatch: pytest.MonkeyPatch, cores: int, devices: int, expected: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    assert default_workers(devices) == expected


def test_loader_settings(splits: DataSplits, config: CocoConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaders_module, "default_workers", lambda devices: 2)
    config.workers = None
    loader = module_of(splits, config).train()
    assert (loader.num_workers, loader.persistent_workers) == (2, True)
    assert loader.pin_memory == torch.cuda.is_available()


def test_augmentation_can_be_switched_off(splits: DataSplits, config: CocoConfig) -> None:
    plain = SSDTransformConfig(image_size=32, photometric=False, zoom_out=0, crop=0, flip=0)
    for batch in epoch(module_of(splits, config, transform=plain), 0):
        for image, number in zip(batch.images, batch.image_ids.tolist(), strict=True):
            expected = EvalTransform(32)(splits.train[number - 1])
            np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), expected.image)
