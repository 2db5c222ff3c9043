"""The linear classifier against torchvision's and against sums by hand."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch.nn import functional as F

from backbone import MobileNetV2
from backbone.errors import InputError
from backbone.features import FeatureSpec
from backbone.weights import load
from backbone.weights.recognise import recognise
from heads.build import build_head
from heads.linear.config import LinearConfig
from heads.structures import ClassificationTargets

SPECS = {"last": FeatureSpec(16, 32)}


def head(num_classes: int = 4, **values: object):
    return build_head(LinearConfig(**values), SPECS, num_classes=num_classes, image_size=64)


def test_equals_torchvision() -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.mobilenet_v2(num_classes=11).eval()
    weights = recognise("theirs", dict(theirs.state_dict()), {})
    backbone = MobileNetV2(features=["last"]).eval()
    load(weights, backbone)
    ours = build_head(LinearConfig(), backbone.specs, num_classes=11, image_size=96).eval()
    ours.load_state_dict(ours.convert_state_dict(weights.tensors))
    images = torch.randn(2, 3, 97, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(backbone(images)), theirs(images), atol=1e-5, rtol=0)


def test_loss_is_smoothed_cross_entropy_and_mixes_both_labels() -> None:
    logits, labels, others = torch.randn(3, 4), torch.tensor([0, 3, 1]), torch.tensor([2, 2, 0])
    log_p = logits.log_softmax(dim=1)

    def by_hand(wanted: torch.Tensor) -> torch.Tensor:
        soft = 0.9 * F.one_hot(wanted, 4) + 0.1 / 4
        return -(soft * log_p).sum(dim=1).mean()

    one = head().loss(logits, ClassificationTargets(labels))["class"]
    torch.testing.assert_close(one, by_hand(labels))
    both = head().loss(logits, ClassificationTargets(labels, others, torch.tensor(0.3)))["class"]
    torch.testing.assert_close(both, 0.3 * by_hand(labels) + 0.7 * by_hand(others))


def test_predicts_probabilities_for_any_size() -> None:
    for size in ((1, 1), (3, 7)):
        classifier = head(2).eval()
        answers = classifier.predict(classifier({"last": torch.randn(2, 16, *size)}), torch.ones(2, 2))
        assert len(answers) == 2
        assert all(answer.scores.sum().item() == pytest.approx(1) for answer in answers)


def test_foreign_weights_without_a_classifier_give_nothing() -> None:
    assert head().convert_state_dict({"segmentation_head.x": torch.zeros(1)}) == {}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dropout": 1.0}, r"head.dropout=1.0: must be in \[0, 1\)"),
        ({"label_smoothing": -0.1}, r"head.label_smoothing=-0.1: must be in \[0, 1\)"),
        ({"tap": "stage9"}, "head.tap=stage9: the backbone has no such feature; it has last"),
    ],
)
def test_bad_values(values: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        head(**values)


def test_weighted_loss_is_pytorch_s_weighted_mean() -> None:
    weights = [0.5, 1.0, 2.0, 4.0]
    logits, labels, others = torch.randn(3, 4), torch.tensor([0, 3, 1]), torch.tensor([2, 2, 0])
    weighted = head(class_weights=weights, label_smoothing=0.0)
    losses = weighted.loss(logits, ClassificationTargets(labels))
    torch.testing.assert_close(losses["class"], F.cross_entropy(logits, labels, torch.tensor(weights)))
    assert losses.normalizer.item() == 0.5 + 4.0 + 1.0
    both = weighted.loss(logits, ClassificationTargets(labels, others, torch.tensor(0.3)))["class"]
    one, other = (F.cross_entropy(logits, of, torch.tensor(weights), reduction="sum") for of in (labels, others))
    torch.testing.assert_close(both, (0.3 * one + 0.7 * other) / (0.3 * 5.5 + 0.7 * 4.5))


def test_weights_of_classes_are_the_mean_number_of_images_over_theirs() -> None:
    weighted = head(class_weights="auto")
    assert weighted.class_weights.tolist() == [1.0, 1.0, 1.0, 1.0]
    weighted.weigh_classes(torch.tensor([10, 30, 0, 20]))  # scikit-learn's "balanced" of three classes: 60 / (3 n)
    assert weighted.class_weights.tolist() == pytest.approx([2.0, 2 / 3, 1.0, 1.0])
    weighted.weigh_classes(torch.tensor([1, 1000, 1000, 1000]))
    assert weighted.class_weights[0].item() == 10.0
    assert "class_weights" not in weighted.state_dict()


def test_bad_class_weights_are_named() -> None:
    with pytest.raises(InputError, match=r"head.class_weights=\[1.0, 2.0\]: must be 4 numbers, one for each class"):
        head(class_weights=[1.0, 2.0])
    with pytest.raises(InputError, match=r"head.class_weights=some: must be auto, or numbers that are finite"):
        LinearConfig(class_weights="some")


def test_divided_logits_keep_their_order() -> None:
    divided = head(dropout=0.0)
    features = {"last": torch.randn(5, 16, 3, 3)}
    before = divided(features)
    divided.divide_logits(2.5)
    torch.testing.assert_close(divided(features), before / 2.5)
