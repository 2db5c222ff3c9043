"""`evaluation.flip`: what is seen in a mirror is joined with what is seen without."""

from __future__ import annotations

import pytest
import torch

from backbone.build import build_backbone
from backbone.errors import InputError
from backbone.families.mobilenet_v2 import MobileNetV2Config
from heads.build import build_head
from heads.deeplabv3.config import DeepLabV3Config
from heads.head import Head
from heads.linear.config import LinearConfig
from heads.ssdlite.config import SSDLiteConfig
from tasks.inference import predict
from tasks.model import VisionModel


def small_model(kind: type) -> VisionModel:
    torch.manual_seed(0)
    backbone = MobileNetV2Config(width=0.1, output_stride=16)
    head = build_head(kind(), backbone.specs, num_classes=3, image_size=65)
    return VisionModel(build_backbone(backbone, head.taps), {"only": head}).eval()


@torch.no_grad()
@pytest.mark.parametrize("kind", [LinearConfig, SSDLiteConfig, DeepLabV3Config])
def test_a_mirrored_image_has_the_mirrored_prediction(kind: type) -> None:
    """Which is no network's way without it: convolutions are not symmetric."""
    model = small_model(kind)
    model.flip = True
    images = torch.randint(256, (1, 3, 65, 65), dtype=torch.uint8)
    sizes = torch.tensor([[65, 65]])
    here, there = (predict(model, view, sizes)["only"][0] for view in (images, images.flip(-1)))
    model.flip = False
    alone = predict(model, images, sizes)["only"][0]
    if kind is LinearConfig:
        torch.testing.assert_close(here.scores, there.scores)
        other = predict(model, images.flip(-1), sizes)["only"][0]
        torch.testing.assert_close(here.scores, (alone.scores + other.scores) / 2)
    elif kind is DeepLabV3Config:
        assert (here.mask == there.mask.flip(-1)).float().mean() > 0.99
    else:
        torch.testing.assert_close(here.scores, there.scores)
        turned = there.boxes_xyxy_px[:, [2, 1, 0, 3]] * torch.tensor([-1, 1, -1, 1]) + torch.tensor([65.0, 0, 65, 0])
        first = turned[there.scores == there.scores[0]]
        assert (first - here.boxes_xyxy_px[0]).abs().amax(dim=1).min() < 1e-3
        assert here.scores[0] >= alone.scores[0]


def test_a_head_that_knows_none_says_so() -> None:
    with pytest.raises(InputError, match=r"cannot join predictions of mirrored images; say evaluation\.flip=false"):
        Head.predict_both(object(), None, None, None)  # type: ignore[arg-type]
