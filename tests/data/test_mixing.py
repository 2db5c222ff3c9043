"""Mixup and CutMix by hand."""

from __future__ import annotations

import pytest
import torch

from backbone.errors import InputError
from heads.structures import Batch, ClassificationTargets, SegmentationTargets
from tasks.data.transforms.mixing import Mixing


def batch() -> Batch:
    images = torch.stack([torch.full((3, 10, 10), value, dtype=torch.uint8) for value in (0, 100, 200)])
    targets = {"classification": ClassificationTargets(torch.tensor([0, 1, 2]))}
    return Batch(images=images, targets=targets, sizes=torch.full((3, 2), 10), image_ids=torch.arange(3))


def mixed_by(mixing: Mixing, step: int) -> tuple[torch.Tensor, float]:
    result = mixing(batch(), step)
    target = result.targets["classification"]
    assert isinstance(target, ClassificationTargets)
    assert target.labels.tolist() == [0, 1, 2]
    assert target.mixed_labels is not None
    assert target.mixed_labels.tolist() == [2, 0, 1]
    assert target.share is not None
    assert result.images.dtype == torch.uint8
    return result.images, target.share.item()


def test_mixup_is_the_weighted_mean_of_neighbours() -> None:
    for step in range(5):
        images, share = mixed_by(Mixing(0.4, 0.0, seed=1), step)
        for value, expected in zip(images[:, 0, 0, 0].tolist(), (200 * (1 - share), 100 * share), strict=False):
            assert abs(value - expected) <= 0.5
        assert all(image.unique().numel() == 1 for image in images)


def test_cutmix_pastes_a_window_and_counts_its_pixels() -> None:
    for step in range(8):
        images, share = mixed_by(Mixing(0.0, 1.0, seed=1), step)
        assert set(images[1].unique().tolist()) <= {0, 100}
        assert (images[1] == 100).float().mean().item() == pytest.approx(share)


def test_seed_and_step_decide() -> None:
    first, second = (Mixing(0.4, 1.0, seed=3)(batch(), 7).images for _ in range(2))
    assert torch.equal(first, second)
    shares = {mixed_by(Mixing(0.4, 1.0, seed=3), step)[1] for step in range(6)}
    assert len(shares) >= 4


def test_other_labels_cannot_be_mixed() -> None:
    masks = batch()
    masks.targets = {"regions": SegmentationTargets(torch.zeros(3, 10, 10, dtype=torch.uint8))}
    with pytest.raises(InputError, match="head regions learns more than a class; set both to 0"):
        Mixing(0.2, 0.0, seed=0)(masks, 0)
