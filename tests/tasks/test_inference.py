"""Multi-scale and mirrored views against the plain way: every view's scores at full size, then the mean."""

from __future__ import annotations

import re

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from backbone import MobileNetV2
from backbone.cost import measured_peak_memory
from backbone.errors import InputError
from heads.build import build_head
from heads.deeplabv3.config import DeepLabV3Config
from heads.segmentation import upsample
from tasks.inference import SCALES, predict, predict_multi_scale, scaled_size
from tasks.model import VisionModel
from tests.backbone.foreign import randomise


def model(*, aligned: bool = True) -> VisionModel:
    torch.manual_seed(0)
    config = DeepLabV3Config(channels=16, aligned_corners=aligned)
    backbone = MobileNetV2(width=0.1, output_stride=16, features=[config.tap])
    head = build_head(config, backbone.specs, num_classes=4, image_size=64)
    randomise(backbone)
    randomise(head)
    return VisionModel(backbone, {"segmentation": head}).eval()


def photographs(count: int = 2, height: int = 65, width: int = 97) -> Tensor:
    coarse = torch.rand(count, 3, 5, 7, generator=torch.Generator().manual_seed(1))
    return (255 * F.interpolate(coarse, size=(height, width), mode="bilinear")).to(torch.uint8)


def mean_probabilities(net: VisionModel, images: Tensor, size: tuple[int, int], *, aligned: bool) -> Tensor:
    total: Tensor | float = 0.0
    for scale in SCALES:
        for mirrored in (False, True):
            view = F.interpolate(images.float(), scaled_size(*images.shape[2:], scale), None, "bilinear", aligned)
            logits = net(view.flip(3) if mirrored else view)["segmentation"]
            full = F.interpolate(logits, size, None, "bilinear", aligned).softmax(1)
            total = total + (full.flip(3) if mirrored else full)
    assert isinstance(total, Tensor)
    return total / (2 * len(SCALES))


@pytest.mark.parametrize("aligned", [True, False])
def test_equals_the_plain_way(aligned: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upsample, "VALUES_AT_ONCE", 5000)
    net, images = model(aligned=aligned), photographs()
    with torch.no_grad():
        wanted = mean_probabilities(net, images, (80, 120), aligned=aligned)
    best, second = wanted.topk(2, dim=1).values.unbind(1)
    sure = best - second > 1e-4
    assert sure.float().mean() > 0.99
    answers = predict_multi_scale(net, "segmentation", images, torch.tensor([[80, 120], [80, 120]]))
    for image, answer in enumerate(answers):
        assert answer.mask.dtype == torch.uint8
        assert torch.equal(answer.mask[sure[image]].long(), wanted[image].argmax(0)[sure[image]])


def test_one_scale_unflipped_is_the_heads_own_answer() -> None:
    net, images, sizes = model(), photographs(), torch.tensor([[65, 97], [200, 31]])
    with torch.no_grad():
        wanted = net.heads["segmentation"].predict(net(images)["segmentation"], sizes)  # type: ignore[operator]
    found = predict_multi_scale(net, "segmentation", images, sizes, scales=[1.0], flip=False)
    for ours, theirs in zip(found, wanted, strict=True):
        assert (ours.mask == theirs.mask).float().mean() > 0.999  # probabilities tie where logits hardly differ


def test_mirrored_images_get_mirrored_masks() -> None:
    net, images, sizes = model(), photographs(), torch.tensor([[65, 97], [65, 97]])
    plain, mirrored = (predict_multi_scale(net, "segmentation", view, sizes) for view in (images, images.flip(3)))
    for one, other in zip(plain, mirrored, strict=True):
        assert (one.mask == other.mask.flip(1)).float().mean() > 0.999


def test_scaled_sizes_are_the_references() -> None:
    assert [scaled_size(513, 513, scale)[0] for scale in SCALES] == [257, 385, 513, 641, 769, 897]
    assert scaled_size(1, 2, 0.5) == (1, 1)


def test_a_large_image_needs_little_memory() -> None:
    net, images = model(), photographs(1)
    sizes = torch.tensor([[2000, 3000]])
    peak = measured_peak_memory(lambda: predict_multi_scale(net, "segmentation", images, sizes, scales=[1.0]))
    assert peak < 6_000_000 + 2**26  # the mask and 64 MiB; two views' scores at full size are 192 MB


@pytest.mark.parametrize("scales", [[], [1.0, 0.0]])
def test_scales_that_make_no_sense(scales: list[float]) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(f'scales={scales}: must be one or more positive numbers')}$"):
        predict_multi_scale(model(), "segmentation", photographs(), torch.tensor([[1, 1]] * 2), scales=scales)


@pytest.mark.parametrize("multi_scale", [False, True])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_scores_that_are_no_numbers_are_refused(multi_scale: bool, value: float) -> None:
    net, images = model(), photographs()
    next(net.heads["segmentation"].parameters()).data.flatten()[0] = value
    with pytest.raises(InputError, match=r"^head segmentation: gives NaN or infinite scores, which mean nothing"):
        predict(net, images, torch.tensor([[65, 97]] * 2), multi_scale=multi_scale)
