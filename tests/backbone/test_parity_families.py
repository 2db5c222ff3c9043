"""Random weights of other libraries' MobileNetV1 and V3 give their outputs here, by stage and with the classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import save_file

from backbone import (
    InputError,
    MobileNetV1,
    MobileNetV2,
    MobileNetV3Large,
    MobileNetV3Small,
    Padding,
    load,
)
from backbone.build import MobileNetV4Medium, MobileNetV4Small
from backbone.weights import read
from heads.build import build_head
from heads.linear.config import LinearConfig
from tests.backbone.foreign import caught, images, largest_difference, randomise

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor, nn

    from backbone import MobileNet

pytestmark = pytest.mark.filterwarnings("ignore")
SIZES = [(64, 96), (65, 47)]


def logits_of(features: Mapping[str, Tensor], backbone: MobileNet, path: Path, classes: int = 1000) -> Tensor:
    """By our classifier, with all its weights from the file."""
    head = build_head(LinearConfig(), backbone.specs, num_classes=classes, image_size=64).eval()
    found = head.convert_state_dict(read(str(path)).tensors)
    head.load_state_dict(found, strict=False)
    assert set(found) == {name for name in head.state_dict() if not name.endswith("num_batches_tracked")}
    logits: Tensor = head.to(features["last"].dtype)(dict(features))
    return logits


def check(backbone: MobileNet, path: Path, model: Any, modules: dict[str, nn.Module], size: tuple[int, int]) -> None:
    x = images(*size).double()
    with torch.no_grad(), caught(modules) as theirs:
        logits = model.double()(x)
        ours = backbone.eval().double()(x)
        assert largest_difference({name: ours[name] for name in theirs}, theirs) < 1e-9
        torch.testing.assert_close(logits_of(ours, backbone, path), logits, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["large", "small"])
def test_torchvision(name: str, size: tuple[int, int], tmp_path: Path) -> None:
    models = pytest.importorskip("torchvision.models")
    model = randomise(getattr(models, f"mobilenet_v3_{name}")())
    path = tmp_path / "model.pth"
    torch.save(model.state_dict(), path)
    build, counts = (MobileNetV3Large, [1, 2, 3, 4, 2, 3]) if name == "large" else (MobileNetV3Small, [1, 2, 3, 2, 3])
    stages = [f"stage{i + 1}" for i in range(len(counts))]
    backbone = build(features=["stem", *stages, "c4.expand", "last"])
    report = load(str(path), backbone)
    assert report.fresh == []
    assert sorted(report.unused) == ["classifier.bias", "classifier.weight", "hidden.0.bias", "hidden.0.weight"]
    assert (backbone.padding, backbone.bn_eps) == (Padding.symmetric, 1e-3)
    features: Any = model.features
    modules = {"stem": features[0], "last": features[-1]}
    modules |= {stage: features[sum(counts[: i + 1])] for i, stage in enumerate(stages)}
    modules["c4.expand"] = features[1 + sum(counts[:-1])].block[0]
    check(backbone, path, model, modules, size)


TIMM: dict[str, tuple[Any, dict[str, Any]]] = {
    "mobilenetv1_100": (MobileNetV1, {}),
    "mobilenetv1_125": (MobileNetV1, {"width": 1.25}),
    "mobilenetv3_large_100": (MobileNetV3Large, {}),
    "mobilenetv3_large_075": (MobileNetV3Large, {"width": 0.75}),
    "mobilenetv3_small_050": (MobileNetV3Small, {"width": 0.5, "fixed_stem": True}),
    "mobilenetv4_conv_small": (MobileNetV4Small, {}),
    "mobilenetv4_conv_small_050": (MobileNetV4Small, {"width": 0.5}),
    "mobilenetv4_conv_medium": (MobileNetV4Medium, {}),
    "tf_mobilenetv3_small_100": (MobileNetV3Small, {}),
    "tf_mobilenetv3_large_minimal_100": (MobileNetV3Large, {"minimalistic": True}),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", TIMM)
def test_timm(name: str, size: tuple[int, int], tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    model: Any = randomise(timm.create_model(name))
    path = tmp_path / f"{name}-00000000.safetensors"
    save_file(model.state_dict(), path)
    build, options = TIMM[name]
    stages = [f"stage{i + 1}" for i in range(len(model.blocks) - (build is not MobileNetV1))]
    backbone = build(**options, features=["stem", *stages, "last"])
    report = load(str(path), backbone)
    assert report.fresh == []
    assert all(unused.startswith(("classifier.", "hidden.")) for unused in report.unused)
    tensorflow = name.startswith("tf_")
    assert backbone.padding is (Padding.tf_same if tensorflow else Padding.symmetric)
    assert (backbone.bn_eps, backbone.input_mean[0]) == ((1e-3, 0.5) if tensorflow else (1e-5, 0.485))
    modules = {"stem": model.bn1, "last": model.blocks[-1]}
    modules |= {stage: model.blocks[i] for i, stage in enumerate(stages)}
    check(backbone, path, model, modules, size)
    named = " ".join(f"{key}={str(value).lower()}" for key, value in ({"width": 1} | options).items())
    with pytest.raises(InputError, match=f"they look like those of a backbone with backbone=mobilenet_v.* {named}"):
        load(str(path), MobileNetV2(width=0.35))


@pytest.mark.parametrize("output_stride", [16, 8])
def test_timm_dilated(output_stride: int, tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    model: Any = randomise(timm.create_model("mobilenetv3_small_100", features_only=True, output_stride=output_stride))
    path = tmp_path / "model.safetensors"
    save_file(model.state_dict(), path)
    backbone = MobileNetV3Small(output_stride=output_stride, features=["c3", "c5"])
    load(str(path), backbone)
    with torch.no_grad(), caught({"c3": model.blocks[1], "c5": model.blocks[4]}) as theirs:
        model(images(65, 48))
        ours = backbone.eval()(images(65, 48))
    assert largest_difference(ours, theirs) < 1e-5


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("width", [1.0, 0.35])
def test_transformers(width: float, size: tuple[int, int], tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.MobileNetV1Config(depth_multiplier=width, num_labels=1001)
    model: Any = randomise(transformers.MobileNetV1ForImageClassification(config))
    path = tmp_path / "model.safetensors"
    save_file(model.state_dict(), path)
    backbone = MobileNetV1(width=width, features=["stem", "c3", "c4", "last"])
    assert load(str(path), backbone).fresh == []
    assert (backbone.padding, backbone.bn_eps, backbone.input_mean[0]) == (Padding.tf_same, 1e-3, 0.5)
    layers = model.mobilenet_v1.layer
    modules = {"stem": model.mobilenet_v1.conv_stem, "c3": layers[9], "c4": layers[21], "last": layers[25]}
    with torch.no_grad(), caught(modules) as theirs:
        logits = model(images(*size)).logits
        ours = backbone.eval()(images(*size))
        assert largest_difference(ours, theirs) < 1e-5
        torch.testing.assert_close(logits_of(ours, backbone, path), logits[:, 1:], atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "build", "options", "size"),
    [
        ("MobileNet", MobileNetV1, {"width": 0.25}, (64, 96)),
        ("MobileNetV3Small", MobileNetV3Small, {}, (64, 96)),
        ("MobileNetV3Small", MobileNetV3Small, {"minimalistic": True}, (65, 47)),
        ("MobileNetV3Large", MobileNetV3Large, {"width": 0.75}, (65, 47)),
    ],
)
def test_keras(
    name: str,
    build: Any,
    options: dict[str, Any],
    size: tuple[int, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Keras pads V1's strided blocks at the bottom and right whatever the size; as the reference does on even maps."""
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras: Any = pytest.importorskip("keras")
    np = pytest.importorskip("numpy")
    theirs = {"alpha" if key == "width" else key: value for key, value in options.items()}
    model = getattr(keras.applications, name)(
        weights=None, input_shape=(*size, 3), classifier_activation=None, **theirs
    )
    generator = np.random.default_rng(0)
    for layer in model.layers:
        if layer.__class__.__name__ == "BatchNormalization":
            shape = layer.get_weights()[0].shape
            draws = [(0.2, 0.3), (0, 0.3)]
            values = [generator.uniform(0.7, 1.3, shape), *(generator.normal(*draw, shape) for draw in draws)]
            layer.set_weights([*values, generator.uniform(0.5, 2.0, shape)])
    path = tmp_path / "model.weights.h5"
    model.save_weights(path)
    backbone = build(**options, features=["last"])
    report = load(str(path), backbone)
    assert (report.fresh, report.origin) == ([], "Keras")
    assert (backbone.padding, backbone.input_mean[0]) == (Padding.tf_same, 0.5)
    x = images(*size)
    pixels = x if name == "MobileNet" else (x + 1) * 127.5  # V3 scales what it is given
    with torch.no_grad():
        expected = model(pixels.permute(0, 2, 3, 1).contiguous(), training=False)
        found = logits_of(backbone.eval()(x), backbone, path)
    torch.testing.assert_close(found, expected.reshape(found.shape), atol=1e-4, rtol=1e-4)
