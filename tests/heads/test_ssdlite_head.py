"""What the head promises: shapes, keys, sizes, and answers that do not depend on the company in the batch."""

from __future__ import annotations

import re
from itertools import product

import pytest
import torch
from torch import Tensor

from backbone import MobileNetV2
from backbone.architecture import Padding
from backbone.errors import InputError
from backbone.features import FeatureSpec
from heads.build import build_head
from heads.ssdlite.config import ClassScore, SSDLiteConfig
from heads.ssdlite.head import SSDLite

SPECS = {
    "stage3": FeatureSpec(16, 8),
    "c4.expand": FeatureSpec(24, 16),
    "stage6": FeatureSpec(20, 32),
    "last": FeatureSpec(32, 32),
}
CELLS = {
    96: [6, 3, 2, 1, 1, 1],
    160: [10, 5, 3, 2, 1, 1],
    300: [19, 10, 5, 3, 2, 1],
    320: [20, 10, 5, 3, 2, 1],
    321: [21, 11, 6, 3, 2, 1],
}


def features(specs: dict[str, FeatureSpec], image_size: int, images: int = 2) -> dict[str, Tensor]:
    """A backbone's features of nothing, made by chance."""
    return {
        name: torch.rand(images, spec.channels, -(-image_size // spec.stride), -(-image_size // spec.stride))
        for name, spec in specs.items()
    }


def small_head(config: SSDLiteConfig | None = None, image_size: int = 160, num_classes: int = 4) -> SSDLite:
    config = config or SSDLiteConfig(extra_width=0.1)
    return build_head(config, SPECS, num_classes=num_classes, image_size=image_size).eval()


def parameters(*modules: torch.nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def test_parameters_are_the_papers() -> None:
    """Table 6: 4.3 M with 80 classes at width 1.0; Table 5: 2.1 M of them are the head."""
    config = SSDLiteConfig()
    backbone = MobileNetV2(features=config.taps)
    head = SSDLite(config, backbone.specs, num_classes=80, image_size=320)
    assert parameters(backbone, head) == 4_337_013
    assert round(parameters(head) / 1e6, 3) == 2.113
    assert head.default_boxes_cxcywh.shape == (2034, 4)


@pytest.mark.parametrize("padding", Padding)
@pytest.mark.parametrize("image_size", CELLS)
def test_shapes(image_size: int, padding: Padding) -> None:
    head = small_head(SSDLiteConfig(extra_width=0.1, padding=padding), image_size)
    outputs = head(features(SPECS, image_size))
    boxes = sum(cells**2 * (3 if index == 0 else 6) for index, cells in enumerate(CELLS[image_size]))
    assert outputs.logits.shape == (2, boxes, 5)
    assert outputs.deltas.shape == (2, boxes, 4)
    assert head.default_boxes_cxcywh.shape == (boxes, 4)


@pytest.mark.parametrize("taps", [["last"], ["stage6"], ["stage3", "c4.expand", "last"]])
@pytest.mark.parametrize("extra_channels", [[], [16], [32, 64, 16]])
def test_other_taps_and_extra_layers(taps: list[str], extra_channels: list[int]) -> None:
    head = small_head(SSDLiteConfig(taps=taps, extra_channels=extra_channels))
    outputs = head({name: x for name, x in features(SPECS, 160).items() if name in taps})
    assert head.taps == taps
    assert outputs.logits.shape == (2, len(head.default_boxes_cxcywh), 5)
    [one, two] = head.predict(outputs, torch.tensor([[160, 160], [30, 70]]))
    assert len(one.scores) == len(two.scores) == min(100, 4 * len(head.default_boxes_cxcywh))


def test_predictions_lie_on_their_default_boxes() -> None:
    """A cell's prediction comes from that cell: light in one corner moves only the boxes of that corner."""
    head = small_head(SSDLiteConfig(taps=["c4.expand"], extra_channels=[]))
    dark = {"c4.expand": torch.zeros(1, 24, 10, 10)}
    lit = {"c4.expand": dark["c4.expand"].clone()}
    lit["c4.expand"][:, :, 1, 7] = 5.0
    moved = (head(lit).deltas - head(dark).deltas).abs().amax(dim=-1)[0] > 1e-7
    centres = head.default_boxes_cxcywh[moved, :2] * 10
    assert set(map(tuple, centres.tolist())) == {(x + 0.5, y + 0.5) for x, y in product((6, 7, 8), (0, 1, 2))}


def test_a_missing_tap_lists_the_names_there_are() -> None:
    message = "head.taps=['c4.expand', 'lost']: the backbone has no ['lost']; it has stage3, c4.expand, stage6, last"
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        small_head(SSDLiteConfig(taps=["c4.expand", "lost"]))


@pytest.mark.parametrize(("extra_width", "channels"), [(1.0, [512, 256, 256, 128]), (0.35, [179, 89, 89, 44])])
def test_extra_channels_follow_the_width(extra_width: float, channels: list[int]) -> None:
    head = small_head(SSDLiteConfig(extra_width=extra_width))
    assert [extra[-1].conv.out_channels for extra in head.extras] == channels  # type: ignore[index]
    assert [extra[0].conv.out_channels for extra in head.extras] == [c // 2 for c in channels]  # type: ignore[index]


def test_extra_channels_are_at_least_sixteen() -> None:
    head = small_head(SSDLiteConfig(extra_width=0.01))
    assert {extra[-1].conv.out_channels for extra in head.extras} == {16}  # type: ignore[index]


def test_state_dict_keys_are_frozen() -> None:
    conv_norm_act = [
        "conv.weight",
        "norm.weight",
        "norm.bias",
        "norm.running_mean",
        "norm.running_var",
        "norm.num_batches_tracked",
    ]
    extras = {f"extras.{i}.{layer}.{name}" for i in range(4) for layer in range(3) for name in conv_norm_act}
    predictors = {
        f"{kind}_predictors.{i}.{name}"
        for kind in ("class", "box")
        for i in range(6)
        for name in [f"0.{name}" for name in conv_norm_act] + ["1.weight", "1.bias"]
    }
    assert set(small_head().state_dict()) == extras | predictors


def test_initial_weights_are_truncated_normal() -> None:
    torch.manual_seed(0)
    weights = [w for name, w in small_head(SSDLiteConfig()).named_parameters() if w.ndim == 4 and w.shape[1] > 1]
    values = torch.cat([w.flatten() for w in weights])
    assert values.abs().max() <= 0.06
    assert values.std().item() == pytest.approx(0.03 * 0.8796, rel=0.01)  # of a normal cut off at two deviations


@pytest.mark.parametrize("score", ClassScore)
@torch.inference_mode()
def test_permuting_the_batch_permutes_the_answers(score: ClassScore) -> None:
    torch.manual_seed(0)
    head = small_head(SSDLiteConfig(extra_width=0.1, score=score))
    maps, order = features(SPECS, 160, images=4), [2, 0, 3, 1]
    sizes = torch.tensor([[160, 160], [50, 400], [333, 7], [1, 1]])
    answers = head.predict(head(maps), sizes)
    shuffled = head.predict(head({name: x[order] for name, x in maps.items()}), sizes[order])
    for found, wanted in zip(shuffled, [answers[n] for n in order], strict=True):
        torch.testing.assert_close(found.scores, wanted.scores)
    alone = head.predict(head({name: x[2:3] for name, x in maps.items()}), sizes[2:3])
    torch.testing.assert_close(alone[0].scores, answers[2].scores)


@pytest.mark.parametrize("score", ClassScore)
@torch.inference_mode()
def test_an_untrained_head_answers_within_the_image(score: ClassScore) -> None:
    torch.manual_seed(0)
    head = small_head(SSDLiteConfig(extra_width=0.1, score=score))
    sizes = torch.tensor([[480, 640], [1, 1]])
    for found, (height, width) in zip(head.predict(head(features(SPECS, 160)), sizes), sizes.tolist(), strict=True):
        assert found.scores.shape == found.labels.shape == (100,)
        assert found.boxes_xyxy_px.shape == (100, 4)
        assert (found.boxes_xyxy_px >= 0).all()
        assert (found.boxes_xyxy_px <= torch.tensor([width, height, width, height])).all()
        assert (found.boxes_xyxy_px[:, 2:] >= found.boxes_xyxy_px[:, :2]).all()
        assert ((found.scores >= 0) & (found.scores <= 1)).all()
        assert ((found.labels >= 0) & (found.labels < 4)).all()
        assert (found.scores.diff() <= 0).all()


def test_outputs_have_the_same_type_in_training() -> None:
    head = small_head()
    maps = features(SPECS, 160)
    assert type(head.train()(maps)) is type(head.eval()(maps))


def test_half_precision_outputs_are_answered_in_single() -> None:
    torch.manual_seed(0)
    head = small_head()
    outputs = head(features(SPECS, 160))
    [found, _] = head.predict(type(outputs)(*(x.detach().bfloat16() for x in outputs)), torch.full((2, 2), 160))
    assert (found.boxes_xyxy_px.dtype, found.scores.dtype) == (torch.float32, torch.float32)


def test_decoded_scores_leave_out_the_background() -> None:
    torch.manual_seed(0)
    for score in ClassScore:
        head = small_head(SSDLiteConfig(extra_width=0.1, score=score))
        outputs = head(features(SPECS, 160))
        scores, boxes = head.decode(outputs)
        assert scores.shape == (*boxes.shape[:2], 4)
        total = scores.sum(dim=-1) + outputs.logits.softmax(dim=-1)[..., 0]
        if score is ClassScore.softmax:
            torch.testing.assert_close(total, torch.ones_like(total))
        else:
            torch.testing.assert_close(scores, outputs.logits[..., 1:].sigmoid())
