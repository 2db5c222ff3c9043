"""Networks that TensorFlow built of TF-slim's layers and ran (see `tests.tensorflow_nets.write`), read and run here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from backbone.build import build_backbone
from backbone.errors import InputError
from backbone.families.mobilenet_v1 import MobileNetV1Config
from backbone.families.mobilenet_v2 import MobileNetV2Config
from backbone.families.mobilenet_v3 import MobileNetV3SmallConfig, ReducedTail
from backbone.weights import load
from backbone.weights.recognise import recognise
from heads.build import build_head
from heads.deeplabv3.config import Aspp, DeepLabV3Config
from heads.linear.config import LinearConfig
from heads.ssdlite.config import ClassScore, Clip, Predictor, SSDLiteConfig
from tasks.checkpoints import public_weights
from tasks.model import VisionModel
from tests import tensorflow_nets
from tests.tensorflow_nets.values import images, sampled, variable

if TYPE_CHECKING:
    from backbone.weights.sources import Weights

NETS: dict[str, Any] = json.loads(Path(tensorflow_nets.__file__).with_name("outputs.json").read_text())
CONFIGS = {
    "mobilenet_v1": MobileNetV1Config,
    "mobilenet_v2": MobileNetV2Config,
    "mobilenet_v3_small": MobileNetV3SmallConfig,
}
ENUMS: dict[str, Any] = {
    "score": ClassScore,
    "clip": Clip,
    "predictor": Predictor,
    "aspp": Aspp,
    "reduced_tail": ReducedTail,
}
KINDS: dict[str, Any] = {"classifier": LinearConfig, "ssd": SSDLiteConfig, "ssdlite": SSDLiteConfig}
CLASSES = {"v1 ssd": 5, "v2 ssd": 2, "v3 ssdlite": 3, "v2 deeplab": 4, "v3 deeplab": 21}


def read(name: str) -> Weights:
    variables = NETS[name]["variables"]
    return recognise(name, {one: torch.from_numpy(variable(one, variables[one])) for one in variables}, {})


def options(section: dict[str, Any]) -> dict[str, Any]:
    """Options as a configuration takes them: names of enumerations as their members."""
    return {key: ENUMS[key][value] if key in ENUMS else value for key, value in section.items() if key != "padding"}


def built(name: str) -> VisionModel:
    """The model as the weights themselves say that it is."""
    weights, kind = read(name), name.split()[1]
    settings = weights.settings or {"head": {}, "backbone": parsed(weights.options)}
    stride = 16 if kind == "deeplab" else 32
    backbone = CONFIGS[weights.family](output_stride=stride, **options(settings["backbone"]))
    padding = {"padding": weights.padding} if kind.startswith("ssd") else {}
    config = KINDS.get(kind, DeepLabV3Config)(**options(settings["head"]), **padding)
    size, classes = NETS[name]["size"], CLASSES.get(name, 1000)
    head = build_head(config, backbone.specs, num_classes=classes, image_size=size)
    body: Any = build_backbone(backbone, head.taps)
    report = load(weights, body)
    assert not report.fresh
    counted = {key: value for key, value in head.state_dict().items() if "num_batches" not in key}
    theirs = head.convert_state_dict(weights.tensors)
    assert set(theirs) == set(counted)
    head.load_state_dict(theirs, strict=False)
    return VisionModel(body, {"head": head}).eval()


def parsed(text: str) -> dict[str, Any]:
    pairs = (word.split("=") for word in text.split())
    return {key: value if key == "reduced_tail" else json.loads(value) for key, value in pairs}


@pytest.mark.parametrize("name", list(NETS))
def test_outputs_are_tensorflows(name: str) -> None:
    model, net = built(name), NETS[name]
    seen = torch.from_numpy((images(net["size"]) + 1) * 127.5).permute(0, 3, 1, 2)
    with torch.inference_mode():
        outputs = model(seen)["head"]
    if name.split()[1].startswith("ssd"):
        found = {"logits": outputs.logits, "boxes": outputs.deltas[..., [1, 0, 3, 2]]}
    elif outputs.ndim == 4:
        found = {"logits": outputs.permute(0, 2, 3, 1)}
    else:
        found = {"logits": outputs}
    for output, wanted in net["outputs"].items():
        assert list(found[output].shape) == net["shapes"][output]
        spread = float(np.std(wanted))
        np.testing.assert_allclose(sampled(found[output].numpy()), wanted, rtol=0, atol=2e-4 * spread)


def test_what_the_weights_say_of_their_network() -> None:
    dense = read("v2 ssd").settings
    assert dense["backbone"]["width"] == 0.35
    assert (dense["head"]["predictor"], dense["head"]["dense_extras"]) == ("conv3x3", True)
    assert read("v1 ssd").settings["head"]["predictor"] == "conv1x1"
    assert "put the pipeline.config beside it" in read("v1 ssd").assumed
    assert read("v3 ssdlite").settings["backbone"]["reduced_tail"] == "detection"
    assert read("v2 deeplab").settings["backbone"] == {"width": 0.5, "divisor": 1}
    assert read("v2 deeplab").settings["head"] == {"aspp": "full", "separable": True}


@pytest.mark.parametrize(
    ("scope", "what"),
    [
        ("decoder/feature_projection0/weights", "a decoder"),
        ("WeightSharedConvolutionalBoxPredictor/BoxPredictor/weights", "predictors that all maps share"),
        ("BoxPredictor_0/Conv2d_0_1x1_64/weights", "convolutions before its predictors"),
    ],
)
def test_layers_that_no_head_has(scope: str, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of such weights the backbone can be used, and the whole is refused."""
    tensors = {"MobilenetV2/Conv/weights": torch.zeros(3, 3, 3, 8), scope: torch.zeros(1, 1, 8, 8)}
    weights = recognise("x", tensors, {})
    assert weights.tensors["stem.conv.weight"].shape == (8, 3, 3, 3)
    monkeypatch.setattr(public_weights, "read", lambda _: weights)
    with pytest.raises(InputError, match=f"checkpoint=x: has {what}.*, which no head here has; use it as backbone.wei"):
        public_weights.as_trained("x", "detection")


def test_a_normalisation_without_scale_has_ones() -> None:
    tensors = {
        "MobilenetV1/Conv2d_0/weights": torch.zeros(3, 3, 3, 8),
        "MobilenetV1/Conv2d_0/BatchNorm/moving_mean": torch.zeros(8),
    }
    assert recognise("x", tensors, {}).tensors["stem.norm.weight"].tolist() == [1.0] * 8


def test_a_checkpoint_of_another_depth_or_family() -> None:
    variables = NETS["v2 classifier"]["variables"]
    shorter = {one: torch.from_numpy(variable(one, variables[one])) for one in variables if "_16/depth" not in one}
    backbone: Any = build_backbone(MobileNetV2Config(width=0.35), ["last"])
    with pytest.raises(InputError, match=r"x: lacks stage7.0.depthwise\..* and \d more tensors of stages"):
        load(recognise("x", shorter, {}), backbone)
    with pytest.raises(InputError, match=r"they look like those of a backbone with backbone=mobilenet_v1 width=0.25"):
        load(read("v1 classifier"), backbone)
    other = {"InceptionV2/Conv2d_1a_7x7/weights": torch.zeros(1)}
    with pytest.raises(InputError, match=r"x: its names \(InceptionV2/.*\) are of no known MobileNet; known are"):
        recognise("x", other, {})
