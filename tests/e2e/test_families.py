"""Every network with heads of every kind through the command line, on built-in data, all three in one training."""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from backbone.families.known import NETWORKS as NETWORKS_BY_NAME
from backbone.features import Activation
from tests.e2e.command import TINY, tiny_run, trident

if TYPE_CHECKING:
    from pathlib import Path

NETWORKS = ("mobilenet_v1", "mobilenet_v3_large", "mobilenet_v3_small")
EXPORTED = (*NETWORKS, "mobilenet_v2", "mobilenet_v4_small")
METRICS = ("scene/top1", "objects/map", "regions/miou")
TOOLS = {"onnx": "onnxruntime", "executorch": "executorch", "litert": "litert_torch"}


def segmenter(network: str) -> str:
    return "lraspp" if network == "mobilenet_v3_small" else "deeplabv3"


@pytest.mark.parametrize("network", NETWORKS)
def test_joint_training_evaluation_and_prediction(
    network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (
        "task=multitask",
        f"backbone={network}",
        f"heads@heads.regions={segmenter(network)}",
        *TINY,
        "transform.image_size=65",
        "data.train_scenes=4",
        "data.val_scenes=2",
        "trainer.max_steps=1",
        f"data.root={tmp_path / 'scenes'}",
    )
    assert trident(monkeypatch, *words, f"run_dir={tmp_path / 'run'}") == 0
    figures = json.loads((tmp_path / "run" / "metrics.json").read_text())["val"]
    assert set(METRICS) <= set(figures)
    of = f"checkpoint={tmp_path / 'run' / 'model.safetensors'}"
    assert trident(monkeypatch, "mode=evaluate", of, f"run_dir={tmp_path / 'again'}") == 0
    assert json.loads((tmp_path / "again" / "metrics.json").read_text())["val"] == figures
    source = f"source={tmp_path / 'scenes' / 'val'}"
    assert trident(monkeypatch, "mode=predict", of, source, f"run_dir={tmp_path / 'seen'}") == 0


@pytest.mark.timeout(900)
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("network", EXPORTED)
def test_export(network: str, tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All heads in one file: in 32 bits the runtime's metrics are PyTorch's; in 8 bits the file is smaller."""
    if importlib.util.find_spec(TOOLS[tool]) is None:
        pytest.skip(f"{TOOLS[tool]} is not installed")
    words = (
        "task=multitask",
        f"backbone={network}",
        f"heads@heads.regions={segmenter(network)}",
        "backbone.width=0.35",
    )
    assert tiny_run(monkeypatch, tmp_path, *words, "trainer.max_steps=1", "transform.image_size=65") == 0
    words = ("mode=export", f"checkpoint={tmp_path / 'run' / 'model.safetensors'}", f"run_dir={tmp_path / 'out'}")
    words += (f"export={tool}", "export.precision=int8", "export.calibration_images=5", "export.passes=0")
    words += (f"export.layers={str(tool != 'executorch').lower()}",)
    assert trident(monkeypatch, *words) == 0
    rows = json.loads((tmp_path / "out" / "export.json").read_text())
    for metric in METRICS:
        assert rows[1]["metrics"][metric] == pytest.approx(rows[0]["metrics"][metric], abs=1e-3)
    assert max(rows[1]["differences"].values()) < 1e-3
    assert rows[2]["bytes"] < rows[1]["bytes"]
    if tool != "executorch":
        check_layers(tmp_path / "out" / "layers.json")
    if tool == "onnx":
        check_operators(tmp_path / "out" / "model_fp32.onnx", network)


def check_layers(path: Path) -> None:
    """Each is there once, and 8 bits keep most of the first."""
    layers = json.loads(path.read_text())
    names = [one["layer"] for one in layers]
    assert names[0] == "backbone.stem.conv"
    assert len(set(names)) == len(names) > 20
    assert layers[0]["decibels"] > 20


def check_operators(path: Path, network: str) -> None:
    """Hard swish and the gate are one operator each, as many as the network has, and none is built from others."""
    import onnx

    architecture = NETWORKS_BY_NAME[network]().built
    blocks = [block for row in architecture.stages.values() for block in row]
    layers = [architecture.stem, *([architecture.last] if architecture.last else []), architecture.hidden]
    swishes = sum(layer is not None and layer.activation is Activation.hardswish for layer in layers)
    swishes += sum((1 + (block.expanded is not None)) * (block.activation is Activation.hardswish) for block in blocks)
    kinds = Counter(node.op_type for node in onnx.load(path).graph.node)
    assert (kinds["HardSwish"], kinds["HardSigmoid"]) == (swishes, sum(b.squeeze is not None for b in blocks) + (
        segmenter(network) == "lraspp"))  # fmt: skip
