"""Losses and assigners beyond SSD's: against torchvision's, the papers' formulas, and arithmetic by hand."""

from __future__ import annotations

import math
from itertools import combinations
from typing import TYPE_CHECKING

import pytest
import torch
from torchvision.ops import box_iou, complete_box_iou_loss, generalized_box_iou, sigmoid_focal_loss

from backbone.errors import InputError
from backbone.features import FeatureSpec
from heads.ssdlite.assigners import match_adaptive, match_aligned
from heads.ssdlite.box_coder import decode, to_xyxy
from heads.ssdlite.config import Assigner, BoxLoss, ClassLoss, ClassScore, SSDLiteConfig
from heads.ssdlite.default_boxes import default_boxes
from heads.ssdlite.fitted_scales import CANDIDATES, _best_overlap, fitted_scales
from heads.ssdlite.head import SSDLite, SSDLiteOutputs
from heads.ssdlite.loss import dense_class_loss, iou_loss
from heads.ssdlite.matcher import best_overlap, match, paired_iou
from heads.structures import DetectionTargets

if TYPE_CHECKING:
    from collections.abc import Sequence

CLASSES = 3
SPECS = {"near": FeatureSpec(24, 16), "far": FeatureSpec(32, 32)}


def small_head(**options: object) -> SSDLite:
    config = SSDLiteConfig(
        taps=["near", "far"], extra_channels=[16], score=ClassScore.sigmoid, **options,  # type: ignore[arg-type]
    )  # fmt: skip
    return SSDLite(config, SPECS, num_classes=CLASSES, image_size=96)


def random_outputs(images: int, head: SSDLite) -> SSDLiteOutputs:
    boxes = len(head.default_boxes_cxcywh)
    return SSDLiteOutputs(
        torch.randn(images, boxes, 1 + CLASSES).requires_grad_(), torch.randn(images, boxes, 4).requires_grad_()
    )


def targets_of(*boxes: list[list[float]], labels: list[list[int]] | None = None) -> DetectionTargets:
    most = max(map(len, boxes))
    padded = torch.tensor([[*of_image, *[[0.0] * 4] * (most - len(of_image))] for of_image in boxes]).view(
        len(boxes), most, 4
    )
    known = labels or [[0] * len(of_image) for of_image in boxes]
    numbers = torch.tensor([[*row, *[-1] * (most - len(row))] for row in known], dtype=torch.int64).view(
        len(boxes), most
    )
    return DetectionTargets(padded, numbers, torch.zeros_like(numbers, dtype=torch.bool))


TWO = targets_of([[0.1, 0.1, 0.5, 0.6], [0.5, 0.4, 0.95, 0.9]], [], labels=[[2, 0], []])


@pytest.mark.parametrize("kind", [BoxLoss.giou, BoxLoss.ciou])
def test_box_losses_are_torchvisions_of_decoded_boxes(kind: BoxLoss) -> None:
    head = small_head(box_loss=kind)
    outputs = random_outputs(2, head)
    losses = head.loss(outputs, TWO)
    defaults = head.default_boxes_cxcywh
    matches = match(TWO, to_xyxy(defaults), 0.5)
    image, box = matches.positive.nonzero(as_tuple=True)
    predicted = decode(outputs.deltas[image, box], defaults[box])
    wanted = TWO.boxes_xyxy_rel[image, matches.objects[image, box]]
    if kind is BoxLoss.giou:
        expected = (1 - generalized_box_iou(predicted, wanted).diagonal()).mean()
    else:
        expected = complete_box_iou_loss(predicted * 320, wanted * 320, reduction="mean")
    torch.testing.assert_close(losses["box_loss"], expected, atol=1e-4, rtol=1e-4)
    assert losses.normalizer == len(image)


def test_box_loss_of_the_same_box_is_zero_and_of_a_shifted_one_is_by_hand() -> None:
    box, shifted = torch.tensor([[0.0, 0.0, 0.5, 0.5]]).double(), torch.tensor([[0.25, 0.0, 0.75, 0.5]]).double()
    assert iou_loss(BoxLoss.ciou, box, box).item() == pytest.approx(0.0, abs=1e-6)
    assert iou_loss(BoxLoss.giou, box, shifted).item() == pytest.approx(1 - 1 / 3, abs=1e-6)
    # centre distance 0.25, diagonal of the hull (0.75, 0.5): 0.0625 / 0.8125
    assert iou_loss(BoxLoss.ciou, box, shifted).item() == pytest.approx(1 - 1 / 3 + 0.0625 / 0.8125, abs=1e-6)


def test_focal_is_torchvisions_over_all_default_boxes() -> None:
    head = small_head(class_loss=ClassLoss.focal)
    outputs = random_outputs(2, head)
    matches = match(TWO, to_xyxy(head.default_boxes_cxcywh), 0.5)
    wanted = torch.zeros_like(outputs.logits[..., 1:])
    for image, box in matches.positive.nonzero().tolist():
        wanted[image, box, TWO.labels[image, matches.objects[image, box]]] = 1
    expected = sigmoid_focal_loss(outputs.logits[..., 1:], wanted, reduction="sum") / matches.positive.sum()
    torch.testing.assert_close(head.loss(outputs, TWO)["class_loss"], expected)


@pytest.mark.parametrize("kind", [ClassLoss.quality, ClassLoss.varifocal])
def test_quality_losses_are_the_papers_formulas(kind: ClassLoss) -> None:
    logits, wanted = torch.randn(50).double(), torch.rand(50).double()
    wanted[:25] = 0
    found = dense_class_loss(kind, logits, wanted)
    for x, q, value in zip(logits.tolist(), wanted.tolist(), found.tolist(), strict=True):
        p = 1 / (1 + math.exp(-x))
        if kind is ClassLoss.quality:
            expected = -(abs(q - p) ** 2) * ((1 - q) * math.log(1 - p) + q * math.log(p))
        elif q > 0:
            expected = -q * (q * math.log(p) + (1 - q) * math.log(1 - p))
        else:
            expected = -0.75 * p**2 * math.log(1 - p)
        assert value == pytest.approx(expected, rel=1e-9)


def test_varifocal_teaches_the_iou_of_the_predicted_box() -> None:
    head = small_head(class_loss=ClassLoss.varifocal)
    outputs = random_outputs(2, head)
    defaults = head.default_boxes_cxcywh
    matches = match(TWO, to_xyxy(defaults), 0.5)
    image, box = matches.positive.nonzero(as_tuple=True)
    learned = matches.objects[image, box]
    quality = paired_iou(decode(outputs.deltas[image, box], defaults[box]), TWO.boxes_xyxy_rel[image, learned])
    wanted = torch.zeros_like(outputs.logits[..., 1:])
    wanted[image, box, TWO.labels[image, learned]] = quality.detach()
    expected = dense_class_loss(ClassLoss.varifocal, outputs.logits[..., 1:], wanted).sum() / len(image)
    torch.testing.assert_close(head.loss(outputs, TWO)["class_loss"], expected)


@pytest.mark.parametrize("class_loss", list(ClassLoss))
@pytest.mark.parametrize("assigner", list(Assigner))
def test_losses_are_finite_without_objects(class_loss: ClassLoss, assigner: Assigner) -> None:
    head = small_head(class_loss=class_loss, assigner=assigner, box_loss=BoxLoss.ciou)
    outputs = random_outputs(2, head)
    for targets in (targets_of([], []), targets_of([[0.2, 0.2, 0.2001, 0.2001]], [])):
        total = sum(head.loss(outputs, targets).values())
        assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(total, list(outputs)))  # type: ignore[arg-type]


def grid(cells: int, side: float) -> torch.Tensor:
    """Square default boxes (cells^2, 4), one in a cell."""
    centres = (torch.arange(cells) + 0.5) / cells
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    return torch.stack([x - side / 2, y - side / 2, x + side / 2, y + side / 2], dim=-1).view(-1, 4)


def test_adaptive_threshold_is_mean_and_deviation_of_the_candidates() -> None:
    """Two maps of 5 x 5 and 2 x 2 cells; an object at the middle of the finer one, of the size of its boxes."""
    defaults = torch.cat([grid(5, 0.2), grid(2, 0.5)])
    targets = targets_of([[0.4, 0.4, 0.6, 0.6]])
    # Of the nearest 9 cells of the first map one is the object itself, 8 only touch it; of the second map all 4 have
    # a corner of 0.1 x 0.1 of it each: IoU 0.01 / 0.28.
    ious = [1.0] + [0.0] * 8 + [0.01 / 0.28] * 4
    mean = sum(ious) / 13
    threshold = mean + math.sqrt(sum((iou - mean) ** 2 for iou in ious) / 12)
    assert 0.01 / 0.28 < threshold < 1
    matches = match_adaptive(targets, defaults, [25, 4], [1, 1])
    assert matches.positive.nonzero().tolist() == [[0, 12]]


def test_adaptive_takes_only_boxes_centred_in_the_object_and_leaves_none_without() -> None:
    defaults = grid(4, 0.5)
    large, tiny = [0.0, 0.0, 0.8, 0.8], [0.24, 0.24, 0.26, 0.26]
    matches = match_adaptive(targets_of([large], [tiny]), defaults, [16], [1])
    centres = (defaults[:, :2] + defaults[:, 2:]) / 2
    taken = matches.positive[0].nonzero()[:, 0]
    assert (centres[taken] < 0.8).all()
    # Mean .326 and deviation .104 of the nine around (.4, .4), five of which are above; see the loop.
    overlaps = [naive_iou(large, box) for box in defaults.tolist()]
    near = sorted(range(16), key=lambda box: math.dist(centres[box].tolist(), (0.4, 0.4)))[:9]
    mean = sum(overlaps[box] for box in near) / 9
    threshold = mean + math.sqrt(sum((overlaps[box] - mean) ** 2 for box in near) / 8)
    assert taken.tolist() == sorted(box for box in near if overlaps[box] >= threshold)
    assert matches.positive[1].sum() == 1  # no centre lies in it


def naive_iou(one: list[float], other: list[float]) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0) * max(height, 0)
    return shared / ((one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1]) - shared)


def test_aligned_takes_the_thirteen_best_of_score_and_iou_by_a_loop() -> None:
    generator = torch.Generator().manual_seed(3)
    defaults = grid(8, 0.3)
    scores = torch.rand(1, 64, CLASSES, generator=generator)
    predicted = (defaults + 0.02 * torch.randn(64, 4, generator=generator))[None]
    box = [0.1, 0.1, 0.9, 0.9]
    matches = match_aligned(targets_of([box], labels=[[1]]), defaults, scores, predicted)
    centres = (defaults[:, :2] + defaults[:, 2:]) / 2
    value = {
        a: scores[0, a, 1].item() * naive_iou(box, predicted[0, a].tolist()) ** 6
        for a in range(64)
        if (centres[a] > 0.1).all() and (centres[a] < 0.9).all()
    }
    best = sorted(value, key=lambda a: -value[a])[:13]
    assert matches.positive[0].nonzero()[:, 0].tolist() == sorted(best)


def test_crowds_are_ignored_by_all_assigners() -> None:
    targets = targets_of([[0.0, 0.0, 1.0, 1.0], [0.3, 0.3, 0.6, 0.6]])
    targets.crowd[0, 0] = True
    for assigner in Assigner:
        head = small_head(assigner=assigner)
        matches = head._match(random_outputs(1, head), targets)
        assert matches.positive.any()
        assert (matches.objects[matches.positive] == 1).all()
        assert (matches.ignored & ~matches.positive).any()


def test_class_losses_over_all_boxes_begin_at_a_hundredth() -> None:
    head = small_head(class_loss=ClassLoss.focal)
    assert all((predictor[1].bias.sigmoid() - 0.01).abs().max() < 1e-6 for predictor in head.class_predictors)  # type: ignore[index]


def test_dense_class_losses_need_sigmoid_scores() -> None:
    with pytest.raises(InputError, match=r"head.class_loss=focal, head.score=softmax: needs head.score=sigmoid"):
        SSDLiteConfig(class_loss=ClassLoss.focal)
    with pytest.raises(InputError, match=r"head.box_weight=0: must be positive"):
        SSDLiteConfig(box_weight=0)


def test_fitted_scales_meet_the_objects_and_come_with_the_weights() -> None:
    """Objects that are squares of 0.145 in the middle of the finest map's cells: IoU 1 where its scale is 0.29."""
    head = small_head(scales="auto")
    low = (torch.arange(6) + 0.5) / 6 - 0.0725
    boxes = torch.stack([low, low, low + 0.145, low + 0.145], dim=1)
    before = head.default_boxes_cxcywh.clone()
    head.fit_scales(boxes, torch.zeros(6, dtype=torch.int64))
    overlap = [
        max(naive_iou(box, default) for default in to_xyxy(head.default_boxes_cxcywh).tolist())
        for box in boxes.tolist()
    ]
    assert min(overlap) > 0.99
    assert not torch.equal(before, head.default_boxes_cxcywh)
    assert head.scales.tolist() == sorted(head.scales.tolist())

    other = small_head(scales="auto")
    other.load_state_dict(head.state_dict())
    assert torch.equal(other.default_boxes_cxcywh, head.default_boxes_cxcywh)
    assert "scales" not in small_head().state_dict()  # the keys of checkpoints are what they were


@pytest.mark.parametrize(
    "sides", [(0.13, 0.16, 0.4), (0.25, 0.3, 0.5), (0.05, 0.25, 0.3), (0.1, 0.4, 0.5), (0.05, 0.3, 0.4)]
)
def test_fitted_scales_are_those_of_all_candidates_that_fit_best(sides: tuple[float, ...]) -> None:
    """Squares in the middle of a cell of each map, against all 816 combinations; one beginning alone is 0.3 worse."""
    config, cells, begin = (
        SSDLiteConfig(three_boxes_first=False, aspect_ratios=[1.0]),
        (16, 8, 4),
        [0.2, 0.575, 0.95, 1.0],
    )
    low = torch.tensor([(0.5 + 0.5 / count) - side / 2 for count, side in zip(cells, sides, strict=True)])
    boxes = torch.stack([low, low, low + torch.tensor(sides), low + torch.tensor(sides)], dim=1)

    def mean_iou(scales: Sequence[float]) -> float:
        return best_overlap(boxes, to_xyxy(default_boxes(cells, config, scales))).mean().item()

    best = max(mean_iou([*scales, 1.0]) for scales in combinations(CANDIDATES, 3))
    fitted = fitted_scales(boxes, torch.arange(3), cells, begin, config)
    assert mean_iou(fitted) > best - 0.01
    other = torch.tensor([2, 0, 1])
    assert fitted_scales(boxes[other], torch.arange(3), cells, begin, config) == fitted


@pytest.mark.parametrize("cells", [1, 3, 10])
def test_best_overlap_with_a_map_is_that_with_all_its_boxes(cells: int) -> None:
    shapes = [(0.1, 0.1), (0.3, 0.15), (1.2, 0.4)]
    corners = torch.rand(200, 2, 2).sort(dim=1).values.flatten(1)
    centres = (torch.arange(cells) + 0.5) / cells
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    every = torch.cat(
        [torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], dim=-1).view(-1, 4) for w, h in shapes]
    )
    expected = box_iou(corners, every).amax(dim=1)
    torch.testing.assert_close(_best_overlap(corners, cells, shapes), expected)


def test_given_scales_are_those_of_the_maps() -> None:
    head = small_head(scales=[0.1, 0.3, 0.6])
    square = head.default_boxes_cxcywh[0, 2:].tolist()
    assert square == pytest.approx([0.05, 0.05])
    assert head.default_boxes_cxcywh[-1, 2:].tolist() == pytest.approx([math.sqrt(0.6)] * 2)
    with pytest.raises(InputError, match=r"head.scales=\[0.1, 0.3\]: must be 3 numbers, one for each map, or auto"):
        small_head(scales=[0.1, 0.3])
    for wrong in ("best", [0.3, 0.1], [0.1, "x"], [], [0.5, 1.5]):
        with pytest.raises(InputError, match=r"head.scales=.*: must be auto, or rising numbers between 0 and 1"):
            SSDLiteConfig(scales=wrong)
