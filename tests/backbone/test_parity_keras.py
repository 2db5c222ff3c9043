"""Random weights of Keras' model give its outputs here, from each layout of h5 that Keras has written."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from backbone import InputError, MobileNetV2, Padding, load
from backbone.weights import read
from tests.backbone.foreign import classified, images, largest_difference, stage_features

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore")  # Keras, and the TensorFlow that it looks for, warn at import
LAYERS = {"Conv1_relu": "stem", "expanded_conv_project_BN": "stage1", "out_relu": "last"} | {
    f"block_{block}_{part}": name
    for block, stage in ((1, 2), (3, 3), (6, 4), (10, 5), (13, 6), (16, 7))
    for part, name in [("expand_relu", f"stage{stage}.expand")]
}
LAYERS |= {"block_2_add": "stage2", "block_5_add": "stage3", "block_9_add": "stage4", "block_12_add": "stage5"}
LAYERS |= {"block_15_add": "stage6", "block_16_project_BN": "stage7"}


@pytest.fixture
def keras(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    return pytest.importorskip("keras")


def random_model(keras: Any, width: float, size: tuple[int, int]) -> Any:
    model = keras.applications.MobileNetV2(
        weights=None, alpha=width, input_shape=(*size, 3), classifier_activation=None
    )
    generator = np.random.default_rng(0)
    for layer in model.layers:
        if "BN" in layer.name or layer.name in ("bn_Conv1", "Conv_1_bn"):
            channels = layer.get_weights()[0].shape
            layer.set_weights(
                [
                    generator.uniform(0.7, 1.3, channels),
                    generator.normal(0.2, 0.3, channels),
                    generator.normal(0, 0.3, channels),
                    generator.uniform(0.5, 2.0, channels),
                ]
            )
    return model


def rewrite_as_released(model: Any, path: Path) -> None:
    """The layout of the files that Keras applications have released since 2018."""
    h5py = pytest.importorskip("h5py")
    names = {"gamma": 0, "beta": 1, "moving_mean": 2, "moving_variance": 3}
    with h5py.File(path, "w") as file:
        for layer in model.layers:
            values, group = layer.get_weights(), file.create_group(layer.name)
            kernel = "depthwise_kernel" if layer.name.endswith("depthwise") else "kernel"
            order = names if len(values) == 4 else {kernel: 0, "bias": 1}
            for name, index in order.items():
                if index < len(values):
                    group[f"{layer.name}/{name}:0"] = values[index]


def forward(model: Any, keras: Any, x: torch.Tensor) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Features by our names and logits; Keras counts channels last."""
    tapped = keras.Model(model.input, [*(model.get_layer(layer).output for layer in LAYERS), model.output])
    *features, logits = tapped(x.permute(0, 2, 3, 1).contiguous(), training=False)
    return {name: f.permute(0, 3, 1, 2) for name, f in zip(LAYERS.values(), features, strict=True)}, logits


@pytest.mark.parametrize(
    ("width", "size", "layout"),
    [
        (0.35, (64, 96), "released"),
        (1.0, (65, 47), "released"),
        (1.4, (64, 64), "keras 3"),
        pytest.param(0.5, (33, 64), "whole model", marks=pytest.mark.slow),  # imports TensorFlow, where there is one
    ],
)
def test_keras(keras: Any, width: float, size: tuple[int, int], layout: str, tmp_path: Path) -> None:
    model = random_model(keras, width, size)
    path = tmp_path / {"released": "w.h5", "keras 3": "w.weights.h5", "whole model": "m.h5"}[layout]
    {"released": rewrite_as_released, "keras 3": lambda m, p: m.save_weights(p), "whole model": lambda m, p: m.save(p)}[
        layout
    ](model, path)

    backbone = MobileNetV2(width=width, features=stage_features()).eval()
    report = load(str(path), backbone)
    assert report.origin == "Keras"
    assert report.fresh == []
    assert sorted(report.unused) == ["classifier.bias", "classifier.weight"]
    assert (backbone.padding, backbone.bn_eps) == (Padding.tf_same, 1e-3)
    assert backbone.input_mean == backbone.input_std == (0.5, 0.5, 0.5)
    with torch.no_grad():
        theirs, logits = forward(model, keras, images(*size))
        ours = backbone(images(*size))
    assert largest_difference(ours, theirs) < 1e-5
    torch.testing.assert_close(classified(ours, read(str(path))), logits, atol=1e-4, rtol=1e-5)


@pytest.mark.slow
def test_a_file_that_keras_2_wrote(tmp_path: Path) -> None:
    pytest.importorskip("tf_keras")
    code = (
        "import tf_keras, numpy\n"
        "model = tf_keras.applications.MobileNetV2(weights=None, alpha=0.35, input_shape=(96, 96, 3))\n"
        f"model.save_weights({str(tmp_path / 'w.h5')!r})\n"
        "x = numpy.linspace(-1, 1, 96 * 96 * 3, dtype='float32').reshape(1, 96, 96, 3)\n"
        "part = tf_keras.Model(model.input, model.get_layer('out_relu').output)\n"
        f"numpy.save({str(tmp_path / 'y.npy')!r}, part.predict(x, verbose=0))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    backbone = MobileNetV2(width=0.35).eval()
    load(str(tmp_path / "w.h5"), backbone)
    x = torch.linspace(-1, 1, 96 * 96 * 3).reshape(1, 96, 96, 3).permute(0, 3, 1, 2)
    with torch.no_grad():
        ours = backbone(x)["last"].permute(0, 2, 3, 1)
    torch.testing.assert_close(ours, torch.from_numpy(np.load(tmp_path / "y.npy")), atol=1e-5, rtol=1e-4)


def test_a_damaged_h5_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    (tmp_path / "w.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(InputError, match=r"w\.h5: damaged or cut short .* get the file again") as caught:
        read(str(tmp_path / "w.h5"))
    assert "\n" not in str(caught.value)


def test_an_h5_that_leads_to_other_files_or_fills_the_memory(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "w.h5"
    (tmp_path / "secret").write_bytes(bytes(64))
    with h5py.File(path, "w") as file:
        file.create_dataset("layer/kernel", (4,), "f4", external=[(str(tmp_path / "secret"), 0, 16)])
    with pytest.raises(InputError, match=r"layer/kernel lies in other files; it is not to be trusted"):
        read(str(path))
    with h5py.File(path, "w") as file:
        file.create_dataset("layer/kernel", (1 << 20, 1 << 20), "f4", chunks=(8, 8))
    with pytest.raises(InputError, match=r"layer/kernel has 4398046511104 bytes; at most 1073741824 are read"):
        read(str(path))


def test_h5_without_h5py_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "w.h5").touch()
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(InputError, match=r"w\.h5: reading h5 needs h5py: pip install h5py"):
        read(str(tmp_path / "w.h5"))
