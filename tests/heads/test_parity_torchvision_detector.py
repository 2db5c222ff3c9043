"""torchvision's detector on MobileNetV3 with random weights, whole: the same boxes, scores and classes here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torchvision.models.detection import ssdlite320_mobilenet_v3_large
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from backbone import InputError, MobileNetV3Large, load
from backbone.families.mobilenet_v3 import ReducedTail
from backbone.weights import read
from heads.build import build_head
from heads.ssdlite.box_coder import to_xyxy
from heads.ssdlite.class_slots import select_classes
from heads.ssdlite.config import ClassScore, Clip, SSDLiteConfig
from heads.ssdlite.default_boxes import default_boxes
from heads.ssdlite.head import SSDLiteOutputs
from heads.ssdlite.postprocess import rank_in_class
from heads.ssdlite.torchvision import convert
from tests.backbone.foreign import randomise

if TYPE_CHECKING:
    from pathlib import Path

THEIRS = SSDLiteConfig(
    three_boxes_first=False, limit_boxes=True, class_slots=91, score=ClassScore.softmax, score_threshold=0.001,
    nms_iou=0.55, clip=Clip.before, candidates=300, max_detections=300,
)  # fmt: skip


def detector(**options: Any) -> Any:
    """Their detector with random weights whose scores differ."""
    torch.manual_seed(0)
    model: Any = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, **options)
    randomise(model)
    with torch.no_grad():
        for predictor in model.head.classification_head.module_list:
            predictor[1].weight *= 0.3
    return model


@pytest.mark.parametrize("side", [320, 193])
def test_detections(side: int, tmp_path: Path) -> None:
    """At an even and an odd size of the input, on images of odd and even sizes."""
    model = detector()
    half = [0.5] * 3
    model.transform = GeneralizedRCNNTransform(side, side, half, half, size_divisible=1, fixed_size=(side, side)).eval()
    path = tmp_path / "model.pth"
    torch.save(model.state_dict(), path)
    weights = read(str(path))
    assert weights.settings["backbone"] == {"reduced_tail": "detection"}
    assert weights.settings["head"]["class_slots"] == 91
    backbone = MobileNetV3Large(reduced_tail=ReducedTail.detection, features=THEIRS.taps)
    load(weights, backbone)
    head: Any = build_head(THEIRS, backbone.specs, num_classes=90, image_size=side)
    found = head.convert_state_dict(weights.tensors)
    assert set(found) == {name for name in head.state_dict() if not name.endswith("num_batches_tracked")}
    head.load_state_dict(found, strict=False)
    generator = torch.Generator().manual_seed(0)
    images = [torch.rand(3, height, width, generator=generator) for height, width in ((240, 320), (75, 101))]
    scaled = torch.stack([model.transform([image])[0].tensors[0] for image in images])
    with torch.no_grad():
        wanted = model(images)
        outputs = head.eval()(backbone.eval()(scaled))
        ours = head.predict(outputs, torch.tensor([image.shape[1:] for image in images]))
    for mine, theirs in zip(ours, wanted, strict=True):
        assert len(theirs["scores"]) == 300
        assert len(theirs["labels"].unique()) > 10
        assert (mine.labels + 1).tolist() == theirs["labels"].tolist()
        torch.testing.assert_close(mine.scores, theirs["scores"], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(mine.boxes_xyxy_px, theirs["boxes"], atol=1e-2, rtol=1e-4)


def test_classes_of_the_data_come_first_and_the_others_stay() -> None:
    """Two boxes with five columns each: background and classes 1 .. 4, of which the data has 3 and 1."""
    state = {"class_predictors.0.1.bias": torch.arange(10), "box_predictors.0.1.bias": torch.zeros(8)}
    chosen = select_classes(state, [3, 1], keep_others=True)
    assert chosen["class_predictors.0.1.bias"].tolist() == [0, 3, 1, 2, 4, 5, 8, 6, 7, 9]


def test_other_columns_count_in_softmax_and_are_not_found() -> None:
    """By hand: three equal logits are a third each, and only the class of the data is a detection."""
    backbone = MobileNetV3Large(width=0.35, features=["c4.expand", "last"])
    head: Any = build_head(SSDLiteConfig(class_slots=3), backbone.specs, num_classes=1, image_size=64)
    boxes = len(head.default_boxes_cxcywh)
    scores, _ = head.decode(SSDLiteOutputs(torch.zeros(1, boxes, 3), torch.zeros(1, boxes, 4)))
    assert scores.shape == (1, boxes, 1)
    torch.testing.assert_close(scores, torch.full_like(scores, 1 / 3))


def test_order_of_a_cell_s_boxes() -> None:
    """Theirs: s, s', 2, 1/2, 3, 1/3; ours has s' last. The values of a box stay together."""
    theirs = {f"head.regression_head.module_list.4.1.{tail}": torch.arange(24) for tail in ("weight", "bias")}
    found = convert(theirs)["box_predictors.4.1.bias"]
    assert found.tolist() == [0, 1, 2, 3, *range(8, 24), 4, 5, 6, 7]


def test_rank_within_a_class() -> None:
    assert rank_in_class(torch.tensor([2, 0, 2, 2, 0, 5])).tolist() == [0, 0, 1, 2, 1, 0]
    assert rank_in_class(torch.zeros(0, dtype=torch.int64)).tolist() == []


def test_default_boxes_are_theirs() -> None:
    model = detector()
    maps = [torch.zeros(1, 1, cells, cells) for cells in (20, 10, 5, 3, 2, 1)]
    [corners] = model.anchor_generator(ImageList(torch.zeros(1, 3, 320, 320), [(320, 320)]), maps)
    ours = to_xyxy(default_boxes([20, 10, 5, 3, 2, 1], THEIRS)) * 320
    order = [0, 2, 3, 4, 5, 1]
    assert len(ours) == 3234
    torch.testing.assert_close(ours.reshape(-1, 6, 4), corners.reshape(-1, 6, 4)[:, order])


def test_ids_beyond_the_slots_are_refused() -> None:
    backbone = MobileNetV3Large(width=0.35, features=["c4.expand", "last"])
    head: Any = build_head(SSDLiteConfig(class_slots=4), backbone.specs, num_classes=2, image_size=64)
    with pytest.raises(InputError, match=r"head.class_slots=4: the weights know classes 1 .. 3, .* ids 0 .. 1; use"):
        head.select_classes({}, [0, 1])
    with pytest.raises(InputError, match=r"head.class_slots=2: must be at least 3, background and the 2 classes"):
        build_head(SSDLiteConfig(class_slots=2), backbone.specs, num_classes=2, image_size=64)


def test_a_detector_with_other_default_boxes_brings_no_settings(tmp_path: Path) -> None:
    """How many there are can be told by the weights, their shapes cannot."""
    tensors = {name: tensor for name, tensor in detector().state_dict().items() if not name.endswith("tracked")}
    name = "head.regression_head.module_list.0.1.weight"
    torch.save(tensors | {name: tensors[name][:16]}, tmp_path / "model.pth")
    assert read(str(tmp_path / "model.pth")).settings == {}
