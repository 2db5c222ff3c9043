"""Several data sets in one epoch, and images that have labels for some heads only."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from backbone.errors import InputError
from heads.structures import VOID, DetectionTargets, SegmentationTargets
from tasks.data.build import Need, build_joint, build_splits
from tasks.data.config import CocoConfig, MixedConfig, ShapesConfig
from tasks.data.datasets.mixed import MixedData
from tasks.data.loading.collate import Collate
from tasks.data.loading.loaders import Loaders
from tasks.data.loading.mixed import MixedSampler, shares
from tasks.data.sample import Sample
from tasks.data.splits import JointSplits
from tasks.data.transforms.config import JointTransformConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from heads.structures import Batch

NEEDS = {"scene": Need("classification", ""), "objects": Need("detection", ""), "regions": Need("segmentation", "")}


class Numbers:
    """Images whose id is their place."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        mask = np.full((40, 40), index % 2, dtype=np.uint8)
        return Sample(image=np.zeros((40, 40, 3), np.uint8), image_id=index, size=(40, 40), mask=mask)

    def path(self, index: int) -> Path:
        return Path(f"{index}.jpg")


def positions(sampler: MixedSampler, epoch: int) -> list[int]:
    sampler.set_epoch(epoch)
    return [position for position, _ in sampler]


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(2, 40), min_size=1, max_size=3),
    share=st.lists(st.integers(1, 5), min_size=3, max_size=3),
    world_size=st.integers(1, 3),
    epoch=st.integers(0, 4),
)
def test_an_epoch(sizes: list[int], share: list[int], world_size: int, epoch: int) -> None:
    share = share[: len(sizes)]
    by_rank = [MixedSampler(sizes, share, 7, rank, world_size) for rank in range(world_size)]
    seen = [np.array(positions(sampler, epoch)).reshape(-1, sum(share)) for sampler in by_rank]
    batches = max(-(-size // (part * world_size)) for size, part in zip(sizes, share, strict=True))
    starts = np.cumsum([0, *sizes])
    assert {batch.shape for batch in seen} == {(batches, sum(share))}
    for part, (size, count) in enumerate(zip(sizes, share, strict=True)):
        inside = [(batch >= starts[part]) & (batch < starts[part + 1]) for batch in seen]
        assert all((one.sum(axis=1) == count).all() for one in inside)  # every batch holds its share
        times = Counter(np.concatenate([batch[one] for batch, one in zip(seen, inside, strict=True)]).tolist())
        if (
            -(-size // (count * world_size)) == batches
        ):  # it defines the epoch: each once, some again to fill the last batch
            assert len(times) == size
            assert sum(times.values()) - size < count * world_size


def test_smaller_parts_go_on_pass_after_pass() -> None:
    sampler = MixedSampler([20, 6], [2, 1], seed=3)  # 10 batches; 10 of the 6 images an epoch, 30 in three epochs
    stream = [position - 20 for epoch in range(3) for position in positions(sampler, epoch) if position >= 20]
    passes = [tuple(stream[start : start + 6]) for start in range(0, 30, 6)]
    assert all(sorted(one) == list(range(6)) for one in passes)
    assert len(set(passes)) == 5


def test_follows_from_seed_and_epoch() -> None:
    first, again, other = (list(MixedSampler([9, 4], [2, 2], seed)) for seed in (1, 1, 2))
    assert first == again != other
    sampler = MixedSampler([9, 4], [2, 2], 1)
    assert positions(sampler, 0) != positions(sampler, 1)
    assert len({seed for _, seed in first}) == len(first) == len(sampler)


@pytest.mark.parametrize(
    ("ratio", "batch", "wanted"),
    [
        (None, 7, {"a": 4, "b": 3}),
        ({"a": 3, "b": 1}, 16, {"a": 12, "b": 4}),
        ({"a": 2, "b": 1}, 16, {"a": 11, "b": 5}),
    ],
)
def test_shares_of_a_batch(ratio: dict[str, float] | None, batch: int, wanted: dict[str, int]) -> None:
    assert shares(["a", "b"], ratio, batch) == wanted


def test_a_share_too_small_for_batch_statistics() -> None:
    with pytest.raises(InputError, match=r"leaves 1 of data.batch_size=8 images to b, and batch normalisation needs 2"):
        shares(["a", "b"], {"a": 7, "b": 1}, 8)


def module(workers: int, seed: int = 0) -> Loaders:
    data = MixedData({"a": Numbers(11), "b": Numbers(4)}, {"a": ["objects"], "b": ["regions"]})
    config = MixedConfig(parts={"a": 1, "b": 1}, ratio={"a": 2, "b": 1}, batch_size=6, workers=workers)
    kinds = {"objects": "detection", "regions": "segmentation"}
    splits = JointSplits(train=data, val=data, test=None, heads={})
    return Loaders(splits, config, JointTransformConfig(image_size=32, photometric=False), kinds, seed)


def batches(module: Loaders) -> Iterator[Batch]:
    yield from module.train()


def test_workers_change_nothing() -> None:
    alone, two = list(batches(module(0))), list(batches(module(2)))
    assert len(alone) == len(two) == 3
    for one, other in zip(alone, two, strict=True):
        assert torch.equal(one.image_ids, other.image_ids)
        assert torch.equal(one.targets["regions"].masks, other.targets["regions"].masks)  # type: ignore[attr-defined]


def test_heads_get_the_rows_that_they_have_labels_for() -> None:
    for batch in batches(module(0)):
        assert batch.rows["objects"].tolist() == [0, 1, 2, 3]
        assert batch.rows["regions"].tolist() == [4, 5]
        assert batch.targets["objects"].labels.shape == (4, 0)  # type: ignore[attr-defined]
        part = batch.of("regions")
        assert part.image_ids.tolist() == batch.image_ids[4:].tolist()
        assert isinstance(part.targets["regions"], SegmentationTargets)
        assert part.rows == {}
        assert list(part.targets) == ["regions"]


def test_evaluation_sees_every_image_once() -> None:
    seen: dict[str, list[int]] = {"objects": [], "regions": []}
    data = module(0)
    for batch in data.evaluation(data.splits.val):
        for head, ids in seen.items():
            ids += batch.of(head).image_ids.tolist()
    assert {head: sorted(ids) for head, ids in seen.items()} == {"objects": list(range(11)), "regions": list(range(4))}


def test_place_beyond_the_end() -> None:
    data = MixedData({"a": Numbers(3)}, {"a": ["x"]})
    assert data.path(2).name == "2.jpg"
    with pytest.raises(IndexError, match=r"image 3: must be in 0 .. 2"):
        data[3]


def test_a_batch_without_a_label_of_a_head() -> None:
    sample = Sample(image=np.zeros((8, 8, 3), np.uint8), image_id=0, size=(8, 8))
    kinds = {"scene": "classification", "objects": "detection", "regions": "segmentation"}
    batch = Collate(kinds)([sample, sample])
    assert list(batch.targets) == ["objects"]  # no object is a label too
    assert {name: len(rows) for name, rows in batch.rows.items()} == {"scene": 0, "regions": 0}
    assert isinstance(batch.targets["objects"], DetectionTargets)
    assert batch.of("scene").targets == {}


def test_masks_of_several_sizes_are_filled_up_with_void() -> None:
    samples = [
        Sample(image=np.zeros((8, 8, 3), np.uint8), image_id=0, size=size, mask=np.ones(size, np.uint8))
        for size in ((3, 5), (4, 2))
    ]
    masks = Collate({"regions": "segmentation"})(samples).targets["regions"].masks  # type: ignore[attr-defined]
    assert masks.shape == (2, 4, 5)
    assert [(mask == 1).sum().item() for mask in masks] == [15, 8]
    assert [(mask == VOID).sum().item() for mask in masks] == [5, 12]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> JointSplits:
    root = tmp_path_factory.mktemp("shapes") / "scenes"
    config = ShapesConfig(root=str(root), train_scenes=60, val_scenes=4, scene_size=64)
    return build_joint(config, NEEDS)


def test_shapes_know_everything_of_one_scene(scenes: JointSplits) -> None:
    objects, regions = scenes.of("objects").labels, scenes.of("regions").labels
    assert regions.names == ("background", *objects.names)
    empty = 0
    for index in range(len(scenes.train)):
        sample = scenes.train[index]
        assert sample.mask is not None
        assert sample.image_id == index
        there = set(np.unique(sample.mask).tolist()) - {0, VOID}
        assert there == {label + 1 for label in sample.labels.tolist()}
        if sample.class_index is None:
            empty += 1
            assert len(sample.labels) == 0
        else:  # the class with most pixels; edges are void, so nearly
            counts = np.bincount(sample.mask.ravel(), minlength=256)[1 : 1 + len(objects.names)]
            assert counts[sample.class_index] >= 0.8 * counts.max()
    assert 0 < empty < 20


def test_every_head_is_scored_on_its_own_labels(scenes: JointSplits) -> None:
    assert scenes.of("scene").val.path(2) == scenes.of("objects").val.path(2) == scenes.of("regions").val.path(2)
    assert scenes.of("regions").val[2].image_id == scenes.of("objects").val[2].image_id == 2


def test_data_of_one_kind_for_heads_of_two() -> None:
    with pytest.raises(InputError, match="CocoConfig gives labels of one kind at a time, and the heads"):
        build_joint(CocoConfig(root="x"), NEEDS)


def test_errors_name_the_part() -> None:
    config = MixedConfig(parts={"objects": CocoConfig()})
    with pytest.raises(InputError, match=r"data.parts.objects.root is not set"):
        build_joint(config, {"objects": Need("detection", "objects")})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ratio": {"b": 1}}, "data.ratio.b: there is no such part; there are a"),
        ({"ratio": {"a": 0}}, r"data.ratio.a=0: must be a positive number; leave a part out by ~data.parts.a"),
        ({"ratio": {"a": "much"}}, "data.ratio.a=much: must be a positive number"),
        ({"batch_size": 1}, "data.batch_size=1: must be at least 2, 2 images of each of 1 parts"),
    ],
)
def test_wrong_mixtures(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MixedConfig(parts={"a": CocoConfig()}, **values)  # type: ignore[arg-type]


def test_a_ratio_must_speak_of_every_part() -> None:
    with pytest.raises(InputError, match=r"data.ratio: says nothing of b"):
        MixedConfig(parts={"a": CocoConfig(), "b": CocoConfig()}, ratio={"a": 1})


def test_a_single_task_does_not_mix() -> None:
    with pytest.raises(InputError, match="data=mixed: needs task=multitask, not task=detection"):
        build_splits(MixedConfig(parts={"a": CocoConfig()}), "detection")
