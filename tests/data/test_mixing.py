"""Mixup and CutMix by hand."""

from __future__ import annotations

import pytest
import torch

from backbone.errors import InputError
from heads.structures import Batch, ClassificationTargets, SegmentationTargets
from tasks.data.transforms.build import batch_mixing
from tasks.data.transforms.config import DeepLabTransformConfig
from tasks.data.transforms.mixing import CopyPaste, Mixing


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


def scenes() -> Batch:
    """Three images of one grey value each, with an object of class 5 in the first and of 1 and 2 in the second."""
    images = torch.stack([torch.full((3, 4, 6), value, dtype=torch.uint8) for value in (10, 20, 30)])
    masks = torch.zeros(3, 4, 6, dtype=torch.uint8)
    masks[0, :2] = 5
    masks[0, 2] = 255
    masks[1, :, :2], masks[1, :, 4:] = 1, 2
    sizes = torch.tensor([[4, 6]] * 3)
    return Batch(images, {"regions": SegmentationTargets(masks)}, sizes, torch.arange(3))


def test_objects_are_pasted_with_their_labels() -> None:
    """The second image gets the first's object, the third one or two of the second's, the first nothing: no object."""
    before, seen = scenes(), set()
    for step in range(20):
        after = CopyPaste(1.0, seed=2)(scenes(), step)
        target = after.targets["regions"]
        assert isinstance(target, SegmentationTargets)
        assert torch.equal(after.images[0], before.images[0])
        assert (after.images[1, :, :2] == 10).all()
        assert (target.masks[1, :2] == 5).all()
        assert (after.images[1, :, 2:] == 20).all(), "background and void stay where they are"
        assert target.masks[1, 2:].tolist() == [[1, 1, 0, 0, 2, 2]] * 2
        assert target.masks[2, 0].tolist() in ([1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 2, 2], [1, 1, 0, 0, 2, 2])
        assert torch.equal(after.images[2, 0] == 20, target.masks[2] > 0)
        seen.add(tuple(target.masks[2, 0].tolist()))
    assert len(seen) == 3


def test_a_share_of_the_images_is_pasted_onto() -> None:
    """Of 500 images .3 are changed, to within four standard deviations of a binomial distribution, 20.5 images."""
    changed = 0
    for step in range(250):
        after = CopyPaste(0.3, seed=0)(scenes(), step)
        changed += sum(not torch.equal(after.images[row], scenes().images[row]) for row in (1, 2))
    assert abs(changed - 150) <= 41


def test_only_masks_are_pasted() -> None:
    with pytest.raises(InputError, match=r"transform\.copy_paste: classification: only masks can be pasted"):
        CopyPaste(0.5, seed=0)(batch(), 0)


def test_the_configuration_pastes_or_does_not() -> None:
    pasting = batch_mixing(DeepLabTransformConfig(copy_paste=0.5), seed=3)
    assert isinstance(pasting, CopyPaste)
    assert (pasting.probability, pasting.seed) == (0.5, 3)
    assert batch_mixing(DeepLabTransformConfig(), seed=3) is None
    with pytest.raises(InputError, match=r"transform\.copy_paste=1\.5: must be a probability from 0 to 1"):
        DeepLabTransformConfig(copy_paste=1.5)
