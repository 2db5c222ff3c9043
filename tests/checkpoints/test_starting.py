"""A training that starts from a whole model: which predictors are kept, and what they then say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from backbone.errors import InputError
from backbone.families.mobilenet_v2 import MobileNetV2Config
from heads.build import build_head
from heads.deeplabv3.config import DeepLabV3Config
from heads.kinds import Kind
from heads.linear.config import LinearConfig
from heads.lraspp.config import LRASPPConfig
from heads.ssdlite.config import SSDLiteConfig
from tasks.checkpoints.model_file import read_header
from tasks.checkpoints.public_names import names_of
from tests.data.builders import voc_object, voc_xml, write_voc
from tests.e2e.command import tiny_run, trident

if TYPE_CHECKING:
    from pathlib import Path

SPECS = MobileNetV2Config(width=0.1, output_stride=16).specs


def head(config: Any, num_classes: int) -> Any:
    torch.manual_seed(num_classes)
    return build_head(config, SPECS, num_classes=num_classes, image_size=64).eval()


@pytest.mark.parametrize("config", [LinearConfig(), DeepLabV3Config(channels=8), LRASPPConfig(channels=8)])
def test_logits_of_kept_classes_are_those_of_the_weights(config: Any) -> None:
    theirs, ours = head(config, 4), head(config, 3)
    new = head(config, 3)
    weights = theirs.state_dict()
    assert ours.classes_in(weights, 3) == 4
    ours.load_state_dict(ours.with_classes(weights, [3, None, 1]))
    features = {tap: torch.randn(2, SPECS[tap].channels, 4, 4) for tap in ours.taps}
    with torch.no_grad():
        wanted, found = theirs(features), ours(features)
        new.load_state_dict(
            {**weights, **{name: new.state_dict()[name] for name in new.state_dict() if "classifier" in name}}
        )
        fresh = new(features)
    torch.testing.assert_close(found[:, [0, 2]], wanted[:, [3, 1]])
    torch.testing.assert_close(found[:, 1], fresh[:, 1])


def test_a_detector_keeps_background_boxes_and_classes() -> None:
    theirs, ours = head(SSDLiteConfig(), 2), head(SSDLiteConfig(), 5)
    weights = theirs.state_dict()
    assert ours.classes_in(weights, 5) == 2
    ours.load_state_dict(ours.with_classes(weights, [None, 1, None, None, None]))
    features = {tap: torch.randn(1, SPECS[tap].channels, 4, 4) for tap in ours.taps}
    with torch.no_grad():
        wanted, found = theirs(features), ours(features)
    torch.testing.assert_close(found.deltas, wanted.deltas)
    torch.testing.assert_close(found.logits[..., [0, 2]], wanted.logits[..., [0, 2]])
    assert not torch.allclose(found.logits[..., 1], wanted.logits[..., 1])


def test_weights_of_another_arrangement_are_left_for_the_check_of_shapes() -> None:
    ours = head(LinearConfig(), 3)
    wider = {"classifier.weight": torch.zeros(4, 7), "classifier.bias": torch.zeros(4)}
    assert ours.with_classes(wider, [0, 1, 2])["classifier.weight"].shape == (4, 7)
    detector = head(SSDLiteConfig(), 2)
    odd = {name: tensor[1:] for name, tensor in detector.state_dict().items() if tensor.ndim}
    assert detector.classes_in(odd, 2) is None


def test_names_by_their_number() -> None:
    """TensorFlow's label maps of COCO (ids 1 .. 90, of which ten are no class) and of VOC."""
    coco = names_of("x", Kind.detection, 90)
    assert coco is not None
    assert (coco[0], coco[15], coco[89]) == ("person", "bird", "toothbrush")
    assert names_of("x", Kind.detection, 20)[:2] == ("aeroplane", "bicycle")  # type: ignore[index]
    assert names_of("x", Kind.segmentation, 21)[0] == "background"  # type: ignore[index]
    assert names_of("x", Kind.detection, 7) is None
    assert names_of("x", Kind.detection, 2, ["cat", "dog"]) == ("cat", "dog")
    with pytest.raises(InputError, match=r"predict.classes=\[cat\]: names 1 classes, and checkpoint=x has 2"):
        names_of("x", Kind.detection, 2, ["cat"])


def test_from_ones_own_model_with_other_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its head's options come along, and the header of what is saved has them."""
    own = ("head.score=sigmoid", "head.padding=tf_same", "trainer.max_steps=1")
    assert tiny_run(monkeypatch, tmp_path, *own) == 0
    before = tmp_path / "run/model.safetensors"
    xml = voc_xml(voc_object("dog", 1, 1, 60, 60) + voc_object("circle", 20, 20, 90, 90))
    write_voc(tmp_path / "voc", {"train": {"a": xml, "b": xml}, "val": {"c": xml}})
    capsys.readouterr()
    start = ("data=voc", f"data.root={tmp_path / 'voc'}", "data.batch_size=2", "data.workers=0", "head.nms_iou=0.5")
    more = ("trainer.max_steps=1", f"run_dir={tmp_path / 'second'}", f"checkpoint={before}", "task=detection")
    assert trident(monkeypatch, *start, *more) == 0
    [line] = [one for one in capsys.readouterr().out.splitlines() if "starts from" in one]
    wanted = f"head detection starts from {before}: predictors of 1 kept (circle) and 1 new (dog) classes"
    assert line == wanted
    header = read_header(str(tmp_path / "second/model.safetensors"))
    head = header.config["head"]
    assert (head["score"], head["padding"], head["nms_iou"]) == ("sigmoid", "tf_same", 0.5)
    assert header.config["backbone"]["width"] == 0.1
    assert sorted(header.labels["detection"]["names"]) == ["circle", "dog"]
    assert header.provenance["pretrained"] == str(before)
    assert trident(monkeypatch, *start, *more, "backbone.weights=x.safetensors") == 2
    assert trident(monkeypatch, *start, *more[:2], f"checkpoint={before}", "task=segmentation") == 2
