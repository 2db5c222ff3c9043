"""The segmentation head: the paper's counts, its loss by hand, its answers against the plain way."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.segmentation import deeplabv3 as torchvision_deeplab

from backbone import MobileNetV2
from backbone.blocks import Norm
from backbone.cost import cost, measured_peak_memory
from backbone.errors import InputError
from backbone.features import FeatureSpec
from heads.build import build_head
from heads.deeplabv3.aspp import ASPP
from heads.deeplabv3.config import Aspp, DeepLabV3Config
from heads.head import Head
from heads.segmentation import upsample
from heads.segmentation.upsample import label_mask, matrix
from heads.structures import SegmentationTargets
from tasks.commands.profile.models import WithHeads
from tests.backbone.foreign import randomise

if TYPE_CHECKING:
    from heads.deeplabv3.head import DeepLabV3

SPECS = {"stage5": FeatureSpec(24, 16), "context": FeatureSpec(20, 16)}


def small_head(num_classes: int = 5, **options: object) -> DeepLabV3:
    config = DeepLabV3Config(channels=8, **options)  # type: ignore[arg-type]
    return build_head(config, SPECS, num_classes=num_classes, image_size=64)


def plain(logits: Tensor, size: tuple[int, int], *, aligned: bool) -> Tensor:
    """Interpolate the scores of every pixel, then choose."""
    return F.interpolate(logits[None], size=size, mode="bilinear", align_corners=aligned)[0].argmax(dim=0)


@pytest.mark.parametrize(
    ("aspp", "output_stride", "parameters", "multiply_adds"),
    [(Aspp.reduced, 16, 2.114, 2.741), (Aspp.full, 16, 4.524, 5.364), (Aspp.reduced, 8, 2.114, None)],
)
def test_cost_is_the_papers(aspp: Aspp, output_stride: int, parameters: float, multiply_adds: float | None) -> None:
    """Table 7 at 513 px with 21 classes, counted by hand in FACTS.md: M parameters and B multiply-adds."""
    config = DeepLabV3Config(aspp=aspp)
    backbone = MobileNetV2(output_stride=output_stride, features=[config.tap])
    model = WithHeads(backbone, {"head": build_head(config, backbone.specs, num_classes=21, image_size=513)})
    found = cost(model, (1, 3, 513, 513))
    assert round(found.parameters / 1e6, 3) == parameters
    assert multiply_adds is None or round(found.multiply_adds / 1e9, 3) == multiply_adds


@pytest.mark.parametrize(("stride", "rates"), [(8, [12, 24, 36]), (16, [6, 12, 18]), (32, [3, 6, 9])])
def test_atrous_rates_follow_from_the_stride(stride: int, rates: list[int]) -> None:
    head = build_head(
        DeepLabV3Config(aspp=Aspp.full), {"context": FeatureSpec(8, stride)}, num_classes=2, image_size=64
    )
    branches = [branch.conv for branch in head.aspp.branches]
    assert [conv.dilation[0] for conv in branches] == [1, *rates]
    assert [conv.kernel_size[0] for conv in branches] == [1, 3, 3, 3]


@pytest.mark.parametrize("aspp", Aspp)
@pytest.mark.parametrize(("height", "width"), [(4, 4), (3, 7), (1, 1)])
def test_a_batch_of_one_trains(aspp: Aspp, height: int, width: int) -> None:
    """Also where the map has one cell, so that nothing in the head has a batch to take statistics of."""
    torch.manual_seed(0)
    head = small_head(aspp=aspp).train()
    logits = head({"context": torch.randn(1, 20, height, width)})
    assert logits.shape == (1, 5, height, width)
    masks = torch.randint(5, (1, 16 * height, 16 * width), dtype=torch.uint8)
    head.loss(logits, SegmentationTargets(masks))["pixel"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())
    assert head.aspp.pooled.conv.weight.grad.abs().sum() > 0
    assert all(b.isfinite().all() for b in head.buffers())


def test_one_value_a_channel_is_normalised_by_running_statistics() -> None:
    aspp = ASPP(4, 3, [], Norm()).train()
    norm = aspp.pooled.norm
    norm.running_mean.copy_(torch.tensor([1.0, -2.0, 0.5]))
    norm.running_var.copy_(torch.tensor([4.0, 0.25, 1.0]))
    x = torch.tensor([3.0, -1.0, 0.5]).view(1, 3, 1, 1)
    expected = torch.tensor([2 / (4.001) ** 0.5, 1 / (0.251) ** 0.5, 0.0])
    torch.testing.assert_close(norm(x).flatten(), expected)
    assert norm.running_mean.tolist() == [1.0, -2.0, 0.5]
    two = torch.cat([x, x + 2])
    torch.testing.assert_close(norm(two)[0].flatten(), torch.full((3,), -1 / 1.001**0.5))
    assert norm.running_mean.tolist() != [1.0, -2.0, 0.5]


def test_full_aspp_equals_torchvisions() -> None:
    """Same weights; torchvision joins the pooled branch last and has BN eps 1e-5."""
    torch.manual_seed(0)
    theirs = randomise(torchvision_deeplab.ASPP(20, [6, 12, 18], out_channels=8))
    ours = ASPP(20, 8, [6, 12, 18], Norm(eps=1e-5)).eval()
    pairs = [(branch, theirs.convs[n]) for n, branch in enumerate(ours.branches)]
    pairs += [(ours.pooled, list(theirs.convs[4])[1:]), (ours.project, theirs.project)]
    for mine, other in pairs:
        mine.conv.load_state_dict(other[0].state_dict())
        mine.norm.load_state_dict(other[1].state_dict())
    weight = ours.project.conv.weight
    weight.data = torch.cat([weight[:, -8:], weight[:, :-8]], dim=1)
    x = torch.randn(2, 20, 21, 17)
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("weights", [None, [1.0, 0.5, 2.0, 0.0, 1.0]])
def test_loss_is_the_mean_over_pixels_that_are_not_void(weights: list[float] | None, aligned: bool) -> None:
    torch.manual_seed(0)
    head = small_head(class_weights=weights, aligned_corners=aligned)
    logits = torch.randn(3, 5, 4, 3, requires_grad=True)
    masks = torch.randint(5, (3, 61, 40), dtype=torch.uint8)
    masks[torch.rand(masks.shape) < 0.3] = 255
    loss = head.loss(logits, SegmentationTargets(masks))["pixel"]
    full = F.interpolate(logits, size=(61, 40), mode="bilinear", align_corners=aligned)
    wanted = F.cross_entropy(full, masks.long(), None if weights is None else torch.tensor(weights), ignore_index=255)
    torch.testing.assert_close(loss, wanted)
    ours, theirs = (torch.autograd.grad(value, logits)[0] for value in (loss, wanted))
    torch.testing.assert_close(ours, theirs)


def test_one_pixel_of_loss_by_hand() -> None:
    logits = torch.tensor([2.0, 0.0]).view(1, 2, 1, 1)
    loss = small_head(2).loss(logits, SegmentationTargets(torch.zeros(1, 1, 1, dtype=torch.uint8)))["pixel"]
    assert loss.item() == pytest.approx(0.126928)  # log(1 + e^-2)


def test_a_batch_of_void_teaches_nothing() -> None:
    logits = torch.randn(2, 5, 3, 3, requires_grad=True)
    loss = small_head().loss(logits, SegmentationTargets(torch.full((2, 33, 33), 255, dtype=torch.uint8)))["pixel"]
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


def test_loss_under_autocast_is_in_single_precision() -> None:
    torch.manual_seed(0)
    logits, head = torch.randn(1, 5, 3, 3), small_head()
    targets = SegmentationTargets(torch.randint(5, (1, 33, 33), dtype=torch.uint8))
    with torch.autocast("cpu", torch.bfloat16):
        loss = head.loss(logits, targets)["pixel"]
    assert torch.equal(loss, head.loss(logits, targets)["pixel"])


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize(("cells", "pixels"), [(1, 1), (1, 9), (4, 1), (4, 4), (33, 513), (21, 320), (24, 375), (9, 4)])
def test_interpolation_is_torchs(cells: int, pixels: int, aligned: bool) -> None:
    one_hot = torch.eye(cells)[None]
    wanted = F.interpolate(one_hot, size=pixels, mode="linear", align_corners=aligned)[0].T
    torch.testing.assert_close(matrix(cells, pixels, aligned_corners=aligned), wanted, atol=5e-6, rtol=0)


def smooth(classes: int, height: int, width: int) -> Tensor:
    """Logits with large areas of one class, as a trained head gives them."""
    return F.interpolate(3 * torch.randn(1, classes, 3, 4), size=(height, width), mode="bicubic")[0]


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize(
    ("cells", "size"),
    [((24, 32), (375, 500)), ((33, 33), (513, 513)), ((1, 1), (7, 5)), ((3, 5), (1, 1)), ((40, 50), (20, 70))],
)
def test_answers_are_those_of_the_plain_way(cells: tuple[int, int], size: tuple[int, int], aligned: bool) -> None:
    torch.manual_seed(0)
    for logits in (torch.randn(21, *cells), smooth(21, *cells)):
        mask = label_mask(logits, size, aligned_corners=aligned)
        assert (mask.dtype, tuple(mask.shape)) == (torch.uint8, size)
        full = F.interpolate(logits[None].double(), size=size, mode="bilinear", align_corners=aligned)[0]
        best, second = full.topk(2, dim=0).values
        sure = best - second > 1e-4  # torch's own single precision places a pixel no better
        assert torch.equal(mask[sure].long(), plain(logits, size, aligned=aligned)[sure])
        assert sure.float().mean() > 0.998 or sure.numel() < 100


def test_stripes_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    logits = smooth(21, 24, 32)
    whole = label_mask(logits, (375, 500), aligned_corners=True)
    for values in (1, 40_000, 10**9):
        monkeypatch.setattr(upsample, "VALUES_AT_ONCE", values)
        assert torch.equal(label_mask(logits, (375, 500), aligned_corners=True), whole)


def test_a_large_image_needs_little_memory() -> None:
    torch.manual_seed(0)
    logits = smooth(21, 64, 64)
    peak = measured_peak_memory(lambda: label_mask(logits, (4000, 3000), aligned_corners=True))
    assert peak < 4000 * 3000 + 2**26  # the mask and 64 MiB; all scores are a gigabyte


def test_every_answer_has_its_images_size() -> None:
    torch.manual_seed(0)
    logits, sizes = torch.randn(3, 5, 4, 6), torch.tensor([[64, 96], [1, 1], [333, 500]])
    head = small_head()
    answers = head.predict(logits, sizes)
    assert [list(answer.mask.shape) for answer in answers] == sizes.tolist()
    order = [2, 0, 1]
    for answer, wanted in zip(head.predict(logits[order], sizes[order]), [answers[n] for n in order], strict=True):
        assert torch.equal(answer.mask, wanted.mask)
    bfloat = head.predict(logits.bfloat16(), sizes)
    assert (bfloat[2].mask == answers[2].mask).float().mean() > 0.98


def test_two_hundred_and_fifty_five_classes() -> None:
    logits = torch.zeros(255, 2, 2)
    logits[254] = 1
    assert (label_mask(logits, (9, 9), aligned_corners=True) == 254).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 0}, "head.channels=0: must be at least 1"),
        ({"dropout": 1.0}, "head.dropout=1.0: must be in [0, 1)"),
        (
            {"class_weights": [1.0, -1.0]},
            "head.class_weights=[1.0, -1.0]: must be auto, or numbers that are finite and not negative",
        ),
        (
            {"class_weights": [float("nan")]},
            "head.class_weights=[nan]: must be auto, or numbers that are finite and not negative",
        ),
        ({"bn_eps": 0.0}, "head.bn_eps=0.0: must be positive"),
        ({"bn_momentum": 1.5}, "head.bn_momentum=1.5: must be in (0, 1]; it is 1 - decay"),
        (
            {"class_weights": [1.0, 2.0]},
            "head.class_weights=[1.0, 2.0]: must be 5 numbers, one for each class",
        ),
        ({"tap": "lost"}, "head.tap=lost: the backbone has no such feature; it has stage5, context"),
    ],
)
def test_what_does_not_fit(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        build_head(DeepLabV3Config(**options), SPECS, num_classes=5, image_size=64)  # type: ignore[arg-type]


@pytest.mark.parametrize("num_classes", [0, 256])
def test_classes_that_no_mask_holds(num_classes: int) -> None:
    with pytest.raises(
        InputError, match=rf"^num_classes={num_classes}: must be 1 \.\. 255; label 255 of a mask is ignored$"
    ):
        small_head(num_classes)


def test_state_dict_keys_are_frozen() -> None:
    kept = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    parts = ("pooled", "branches.0", "branches.1", "branches.2", "branches.3", "project")
    names = {f"aspp.{part}.norm.{name}" for part in parts for name in kept}
    names |= {f"aspp.{part}.conv.weight" for part in parts} | {"classifier.weight", "classifier.bias"}
    assert set(small_head(aspp=Aspp.full).state_dict()) == names


def test_foreign_weights() -> None:
    some = torch.zeros(1)
    tensors = {
        "segmentation_head.conv_pool.convolution.weight": some,
        "segmentation_head.conv_aspp.normalization.running_var": some,
        "segmentation_head.conv_projection.normalization.bias": some,
        "segmentation_head.classifier.convolution.bias": some,
        "segmentation_head.conv_other.convolution.weight": some,
        "classifier.weight": some,
        "stem.conv.weight": some,
    }
    assert list(small_head().convert_state_dict(tensors)) == [
        "aspp.pooled.conv.weight",
        "aspp.branches.0.norm.running_var",
        "aspp.project.norm.bias",
        "classifier.bias",
    ]
    assert Head.convert_state_dict(small_head(), tensors) == {}
