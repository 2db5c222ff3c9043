"""Matching against loops over images, objects and default boxes, and against torchvision's.

All boxes of the random scenes lie on a grid of sixteenths, so that overlaps are exact in both and ties are frequent.
"""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
import torch
from torch import Tensor
from torchvision.models.detection._utils import SSDMatcher
from torchvision.ops import box_iou

from heads.ssdlite.box_coder import to_xyxy
from heads.ssdlite.config import SSDLiteConfig
from heads.ssdlite.default_boxes import default_boxes
from heads.ssdlite.matcher import match
from heads.structures import DetectionTargets

GRID = 16
Box = tuple[float, float, float, float]


def shared_area(a: list[Fraction], b: list[Fraction]) -> Fraction:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return width * height if width > 0 and height > 0 else Fraction(0)


def size(box: list[Fraction]) -> Fraction:
    return (box[2] - box[0]) * (box[3] - box[1])


def naive_match(targets: DetectionTargets, defaults: Tensor, threshold: float) -> list[list[int | str | None]]:
    """For every image and default box: the object that it learns, "ignored", or None for background."""
    boxes_of_defaults = [[Fraction(v) for v in box] for box in defaults.tolist()]
    answer: list[list[int | str | None]] = []
    for boxes, labels, crowds in zip(
        targets.boxes_xyxy_rel.tolist(), targets.labels.tolist(), targets.crowd.tolist(), strict=True
    ):
        exact = [[Fraction(v) for v in box] for box in boxes]
        learnable = [i for i in range(len(exact)) if labels[i] >= 0 and not crowds[i]]
        overlap = {
            (i, a): (s := shared_area(exact[i], default)) / (size(exact[i]) + size(default) - s)
            for i in learnable
            for a, default in enumerate(boxes_of_defaults)
        }
        learns: list[int | str | None] = []
        for a, default in enumerate(boxes_of_defaults):  # "match default boxes to any ground truth above a threshold"
            best = max(learnable, key=lambda i: overlap[i, a], default=None)
            if best is not None and overlap[best, a] >= Fraction(threshold):
                learns.append(best)
            elif any(crowds[i] and 2 * shared_area(exact[i], default) >= size(default) for i in range(len(exact))):
                learns.append("ignored")
            else:
                learns.append(None)
        forced: dict[int, int] = {}
        for i in learnable:  # "match each ground truth box to the default box with the best jaccard overlap"
            a = max(range(len(boxes_of_defaults)), key=lambda a: overlap[i, a])
            if overlap[i, a] > 0 and (a not in forced or overlap[i, a] > overlap[forced[a], a]):
                forced[a] = i
        for a, i in forced.items():
            learns[a] = i
        answer.append(learns)
    return answer


def as_lists(targets: DetectionTargets, defaults: Tensor, threshold: float) -> list[list[int | str | None]]:
    """The same of the matcher's tensors."""
    matches = match(targets, defaults, threshold)
    assert not (matches.positive & matches.ignored).any()
    return [
        [i if p else "ignored" if x else None for i, p, x in zip(objects, positive, ignored, strict=True)]
        for objects, positive, ignored in zip(
            matches.objects.tolist(), matches.positive.tolist(), matches.ignored.tolist(), strict=True
        )
    ]


def targets_of(images: list[list[tuple[Box, bool]]], padding: int = 0) -> DetectionTargets:
    """Targets of images with (box, crowd) objects, with `padding` more rows than needed."""
    most = max(map(len, images), default=0) + padding
    targets = DetectionTargets(
        torch.zeros(len(images), most, 4),
        torch.full((len(images), most), -1),
        torch.zeros(len(images), most, dtype=torch.bool),
    )
    for n, objects in enumerate(images):
        for m, (box, crowd) in enumerate(objects):
            targets.boxes_xyxy_rel[n, m] = torch.tensor(box)
            targets.labels[n, m] = m % 3
            targets.crowd[n, m] = crowd
    return targets


def grid_box(rng: random.Random, largest: int = GRID) -> Box:
    width, height = rng.randint(1, largest), rng.randint(1, largest)
    x, y = rng.randint(0, GRID - width), rng.randint(0, GRID - height)
    return x / GRID, y / GRID, (x + width) / GRID, (y + height) / GRID


@pytest.mark.parametrize("seed", range(12))
def test_equals_loops(seed: int) -> None:
    rng = random.Random(seed)
    defaults = torch.tensor([grid_box(rng, 8) for _ in range(25)])
    images = [
        [(grid_box(rng, rng.choice([2, 6, 16])), rng.random() < 0.25) for _ in range(rng.randint(0, 7))]
        for _ in range(5)
    ]
    images[rng.randrange(5)] = []
    targets = targets_of(images, padding=rng.randint(0, 2))
    threshold = rng.choice([0.25, 0.5, 0.75])
    assert as_lists(targets, defaults, threshold) == naive_match(targets, defaults, threshold)


@pytest.mark.parametrize("seed", range(4))
def test_equals_torchvision_where_no_two_objects_share_a_best_box(seed: int) -> None:
    torch.manual_seed(seed)
    defaults = to_xyxy(default_boxes([10, 5, 3], SSDLiteConfig()))
    side = 0.05 + 0.5 * torch.rand(12, 2)
    low = torch.rand(12, 2) * (1 - side)
    boxes = torch.cat([low, low + side], dim=1)
    best = box_iou(boxes, defaults).argmax(dim=1).tolist()
    boxes = boxes[[best.index(b) for b in dict.fromkeys(best)]]
    assert len(boxes) > 5
    labels = torch.zeros(1, len(boxes), dtype=torch.long)
    found = match(DetectionTargets(boxes[None], labels, labels.bool()), defaults, 0.5)
    wanted = SSDMatcher(0.5)(box_iou(boxes, defaults))
    assert torch.equal(torch.where(found.positive[0], found.objects[0], -1), wanted)
    assert not found.ignored.any()


def test_of_objects_that_force_the_same_box_the_larger_overlap_wins() -> None:
    defaults = torch.tensor([(0.0, 0.0, 1.0, 1.0)])
    small, large = (0.0, 0.0, 0.25, 0.25), (0.0, 0.0, 0.5, 0.5)
    for objects, winner in (([small, large], 1), ([large, small], 0), ([small, small, large, large], 2)):
        assert as_lists(targets_of([[(box, False) for box in objects]]), defaults, 0.5) == [[winner]]


def test_a_forced_box_is_taken_from_the_object_that_it_overlaps_most() -> None:
    defaults = torch.tensor([(0.0, 0.0, 0.5, 0.5), (0.0, 0.0, 0.5, 0.4375)])
    most, forcing = (0.0, 0.0, 0.5, 0.4375), (0.0, 0.0, 1.0, 1.0)
    assert as_lists(targets_of([[(most, False), (forcing, False)]]), defaults, 0.5) == [[1, 0]]


def test_the_threshold_itself_matches() -> None:
    defaults = torch.tensor([(0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 0.5, 0.5)])
    assert as_lists(targets_of([[((0.0, 0.0, 0.5, 1.0), False)]]), defaults, 0.5) == [[0, 0]]


def test_an_object_outside_the_reach_of_all_boxes_forces_none() -> None:
    defaults = torch.tensor([(0.0, 0.0, 0.25, 0.25), (0.0, 0.0, 0.5, 0.5)])
    assert as_lists(targets_of([[((0.5, 0.5, 1.0, 1.0), False)]]), defaults, 0.5) == [[None, None]]


def test_crowd_is_neither_positive_nor_negative() -> None:
    defaults = torch.tensor([(0.0, 0.0, 0.5, 0.5), (0.25, 0.0, 0.75, 0.5), (0.5, 0.5, 1.0, 1.0)])
    crowd, inside = ((0.0, 0.0, 0.5, 1.0), True), ((0.0, 0.0, 0.5, 0.5), False)
    assert as_lists(targets_of([[crowd]]), defaults, 0.5) == [["ignored", "ignored", None]]
    assert as_lists(targets_of([[crowd, inside]]), defaults, 0.5) == [[1, "ignored", None]]


@pytest.mark.parametrize("padding", [0, 3])
def test_no_objects(padding: int) -> None:
    defaults = torch.tensor([(0.0, 0.0, 0.5, 0.5), (0.0, 0.0, 1.0, 1.0)])
    assert as_lists(targets_of([[], []], padding), defaults, 0.5) == [[None, None], [None, None]]
    assert match(targets_of([[], []], padding), defaults, 0.5).objects.dtype == torch.int64


def test_permuting_the_batch_permutes_the_matches() -> None:
    rng = random.Random(0)
    defaults = torch.tensor([grid_box(rng, 8) for _ in range(25)])
    images = [[(grid_box(rng), rng.random() < 0.2) for _ in range(n)] for n in (3, 0, 5, 1)]
    order = [2, 0, 3, 1]
    answers = as_lists(targets_of(images), defaults, 0.5)
    assert as_lists(targets_of([images[n] for n in order]), defaults, 0.5) == [answers[n] for n in order]
