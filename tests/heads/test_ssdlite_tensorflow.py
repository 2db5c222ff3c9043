"""Heads of TensorFlow's detectors: names, order of boxes, classes; and suppression in TensorFlow's order."""

from __future__ import annotations

import torch

from heads.ssdlite.class_slots import select_classes
from heads.ssdlite.config import Clip
from heads.ssdlite.postprocess import REACH, detect
from heads.ssdlite.tensorflow import convert
from tests.heads.test_ssdlite_postprocess import Found, as_lists, naive_detect, ones


def test_names_and_the_order_of_a_box() -> None:
    """Of two boxes a cell: TensorFlow says y, x, h, w of each."""
    box = torch.arange(8.0)
    found = convert(
        {
            "BoxPredictor_2/BoxEncodingPredictor/biases": box,
            "BoxPredictor_2/ClassPredictor_depthwise/BatchNorm/gamma": box,
            "MobilenetV2/layer_19_1_Conv2d_3_1x1_128/weights": box,
            "MobilenetV2/layer_19_2_Conv2d_3_3x3_s2_256_depthwise/depthwise_weights": box,
            "MobilenetV2/layer_19_2_Conv2d_5_3x3_s2_128_depthwise/depthwise_weights": box,
            "MobilenetV2/layer_19_2_Conv2d_5_3x3_s2_128/BatchNorm/moving_variance": box,
            "MobilenetV1/Conv2d_13_pointwise_2_Conv2d_4_3x3_s2_256/BatchNorm/beta": box,
        }
    )
    assert found.pop("box_predictors.2.1.bias").tolist() == [1, 0, 3, 2, 5, 4, 7, 6]
    assert set(found) == {
        "class_predictors.2.0.norm.weight",
        "extras.1.0.conv.weight",
        "extras.1.1.conv.weight",
        "extras.3.1.conv.weight",
        "extras.3.2.norm.running_var",
        "extras.2.1.norm.bias",
    }


def test_classes_of_the_data_are_chosen() -> None:
    """Two boxes with four columns each: background and classes 1 .. 3."""
    state = {
        "class_predictors.0.1.bias": torch.arange(8),
        "class_predictors.0.0.conv.weight": torch.arange(8),
        "class_predictors.1.0.conv.weight": torch.arange(8),
        "box_predictors.0.1.bias": torch.zeros(8),
    }
    chosen = select_classes(state, [3, 1])
    assert chosen["class_predictors.0.1.bias"].tolist() == [0, 3, 1, 4, 7, 5]
    assert chosen["class_predictors.1.0.conv.weight"] is state["class_predictors.1.0.conv.weight"]
    assert select_classes(state, [1, 2, 3])["class_predictors.0.1.bias"].tolist() == list(range(8))
    assert select_classes(state, [7])["class_predictors.0.1.bias"].tolist() == list(range(8))


def tensorflow_detect(scores: torch.Tensor, boxes: torch.Tensor, most: int) -> list[Found]:
    """As multiclass_non_max_suppression of the object detection API: suppress, cut, drop what is empty, sort."""
    answers = []
    for image in range(len(scores)):
        found: Found = []
        for label in range(scores.shape[2]):
            one = naive_detect(
                scores[image : image + 1, :, label : label + 1],
                boxes[image : image + 1],
                score_threshold=0.1,
                nms_iou=0.5,
                max_detections=most,
            )[0]
            for score, _, box in one:
                cut = [min(max(side, 0.0), 1.0) for side in box]
                if cut[2] > cut[0] and cut[3] > cut[1]:
                    found.append((score, label, cut))
        answers.append(sorted(found, key=lambda x: -x[0])[:most])
    return answers


def test_boxes_are_cut_after_suppression() -> None:
    torch.manual_seed(0)
    for classes, most in ((1, 5), (1, 300), (3, 7), (3, 300)):
        scores = torch.rand(3, 60, classes)
        low = torch.rand(3, 60, 2) * 2.4 - 1.2
        boxes = torch.cat([low, low + 0.2 + 0.6 * torch.rand(3, 60, 2)], dim=-1)
        found = as_lists(
            detect(scores, boxes, ones(3), score_threshold=0.1, nms_iou=0.5, max_detections=most, clip=Clip.after)
        )
        wanted = tensorflow_detect(scores, boxes, most)
        assert [[one[:2] for one in image] for image in found] == [[one[:2] for one in image] for image in wanted]
        for mine, theirs in zip(found, wanted, strict=True):
            torch.testing.assert_close([one[2] for one in mine], [one[2] for one in theirs])


def test_boxes_that_are_no_numbers_are_no_detections_of_others() -> None:
    boxes = torch.tensor([[[torch.nan] * 4, [-torch.inf, -torch.inf, torch.inf, torch.inf], [0.1, 0.1, 0.4, 0.4]]])
    [found] = detect(
        torch.tensor([[[0.9], [0.8], [0.7]]]),
        boxes,
        ones(1),
        score_threshold=0.1,
        nms_iou=0.5,
        max_detections=3,
        clip=Clip.after,
    )
    assert REACH > 1
    assert found.scores.tolist() == torch.tensor([0.8, 0.7]).tolist()
