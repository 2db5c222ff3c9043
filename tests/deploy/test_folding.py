"""Folded models compute what PyTorch's own layers compute."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from backbone import MobileNetV2
from backbone.architecture import Padding
from backbone.blocks import Conv2d, ConvNormAct, Norm
from tasks.deploy.folding import FoldedConv, absorb_scaling, folded
from tasks.model import VisionModel
from tests.commands.predict.models import predictor


def model(*heads: str) -> VisionModel:
    """With batch statistics that are not those of a fresh model, and a mean of ImageNet's."""
    made = predictor(*heads).model
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.get_buffer("running_mean"), -0.5, 0.5)
            nn.init.uniform_(module.get_buffer("running_var"), 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return made.eval()


@pytest.mark.parametrize("groups", [1, 8])
def test_a_folded_convolution_is_torchs(groups: int) -> None:
    torch.manual_seed(0)
    layer = ConvNormAct(8, 8, 3, groups=groups, norm=Norm(), activation=None).eval()
    nn.init.uniform_(layer.norm.get_buffer("running_var"), 0.5, 2)
    nn.init.uniform_(layer.norm.get_buffer("running_mean"), -1, 1)
    theirs = fuse_conv_bn_eval(nn.Conv2d(8, 8, 3, padding=1, groups=groups, bias=False).eval(), layer.norm)
    ours = FoldedConv(layer.conv, layer.norm)
    want = fuse_conv_bn_eval(_plain(layer.conv), layer.norm)
    torch.testing.assert_close(ours.weight, want.weight)
    torch.testing.assert_close(ours.bias, want.bias)
    assert theirs.weight.shape == ours.weight.shape


def _plain(conv: Conv2d) -> nn.Conv2d:
    plain = nn.Conv2d(8, 8, 3, padding=1, groups=conv.groups, bias=False).eval()
    plain.weight = conv.weight
    return plain


@pytest.mark.parametrize("padding", list(Padding))
@pytest.mark.parametrize("mean", [(0.5, 0.5, 0.5), (0.485, 0.456, 0.406)])
def test_folding_and_scaling_keep_the_outputs(padding: Padding, mean: tuple[float, ...]) -> None:
    torch.manual_seed(0)
    heads = model("classification", "detection", "segmentation").heads
    backbone = MobileNetV2(width=0.1, features=["c4.expand", "context", "last"], padding=padding, input_mean=mean)
    whole = VisionModel(backbone, dict(heads.items())).eval()  # type: ignore[arg-type]
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    small = folded(whole)
    centre = absorb_scaling(small, integers=False)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in small.modules())
    with torch.no_grad():
        wanted, found = whole(images), small(centre(images.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
    for name in ("classification", "segmentation"):
        torch.testing.assert_close(found[name], wanted[name], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found["detection"].logits, wanted["detection"].logits, atol=1e-4, rtol=1e-4)


def test_grey_levels_that_8_bits_can_say_change_the_border_alone() -> None:
    torch.manual_seed(0)
    whole = model("classification")
    small = folded(whole)
    centre = absorb_scaling(small, integers=True)
    images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    given = centre(images.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    assert set((given - given.round()).unique().tolist()) == {0.0}
    assert given.min() >= -128
    assert given.max() <= 127
    with torch.no_grad():
        ours = small.backbone.stem(given)  # type: ignore[operator]
        theirs = whole.backbone.stem(whole.scaling(images))  # type: ignore[operator]
    torch.testing.assert_close(ours[..., 1:-1, 1:-1], theirs[..., 1:-1, 1:-1], atol=1e-5, rtol=1e-4)
    assert (ours - theirs).abs().max() < 0.02


def test_the_model_itself_stays_as_it_is() -> None:
    whole = model("classification")
    before = {name: value.clone() for name, value in whole.state_dict().items()}
    absorb_scaling(folded(whole), integers=True)
    after = whole.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], value) for name, value in before.items())
