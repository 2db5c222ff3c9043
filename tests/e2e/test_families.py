"""Every network with heads of every kind through the command line, on built-in data.

One joint training has all three heads; the exports are those of one network and head each, in the runtimes' own tests
for the usual one.
"""

from __future__ import annotations

import importlib.util
import json
from typing import TYPE_CHECKING

import pytest

from tests.e2e.command import TINY, tiny_run, trident

if TYPE_CHECKING:
    from pathlib import Path

NETWORKS = ("mobilenet_v1", "mobilenet_v3_large", "mobilenet_v3_small")
TOOLS = {"onnx": "onnxruntime", "executorch": "executorch", "litert": "litert_torch"}


@pytest.mark.parametrize("network", NETWORKS)
def test_joint_training_evaluation_and_prediction(
    network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = "lraspp" if network == "mobilenet_v3_small" else "deeplabv3"
    words = (
        "task=multitask",
        f"backbone={network}",
        f"heads@heads.regions={segmenter}",
        *TINY,
        "transform.image_size=65",
        "data.train_scenes=4",
        "data.val_scenes=2",
        "trainer.max_steps=1",
        f"data.root={tmp_path / 'scenes'}",
    )
    assert trident(monkeypatch, *words, f"run_dir={tmp_path / 'run'}") == 0
    figures = json.loads((tmp_path / "run" / "metrics.json").read_text())["val"]
    assert {"scene/top1", "objects/map", "regions/miou"} <= set(figures)
    of = f"checkpoint={tmp_path / 'run' / 'model.safetensors'}"
    assert trident(monkeypatch, "mode=evaluate", of, f"run_dir={tmp_path / 'again'}") == 0
    assert json.loads((tmp_path / "again" / "metrics.json").read_text())["val"] == figures
    source = f"source={tmp_path / 'scenes' / 'val'}"
    assert trident(monkeypatch, "mode=predict", of, source, f"run_dir={tmp_path / 'seen'}") == 0


@pytest.mark.timeout(900)
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize(
    ("network", "task", "head"),
    [
        ("mobilenet_v1", "detection", "ssdlite"),
        ("mobilenet_v3_small", "detection", "ssdlite"),
        ("mobilenet_v3_small", "segmentation", "lraspp"),
        ("mobilenet_v3_large", "classification", "linear"),
    ],
)
def test_export(network: str, task: str, head: str, tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In 32 bits the runtime's metrics are PyTorch's; in 8 bits there is a file that can be evaluated."""
    if importlib.util.find_spec(TOOLS[tool]) is None:
        pytest.skip(f"{TOOLS[tool]} is not installed")
    words = (f"task={task}", f"backbone={network}", f"head={head}", "trainer.max_steps=1")
    assert tiny_run(monkeypatch, tmp_path, *words) == 0
    words = ("mode=export", f"checkpoint={tmp_path / 'run' / 'model.safetensors'}", f"run_dir={tmp_path / 'out'}")
    words += (f"export={tool}", "export.precision=int8", "export.calibration_images=5", "export.passes=1")
    assert trident(monkeypatch, *words) == 0
    rows = json.loads((tmp_path / "out" / "export.json").read_text())
    figure = {"detection": "map", "segmentation": "miou", "classification": "top1"}[task]
    assert rows[1]["figures"][figure] == pytest.approx(rows[0]["figures"][figure], abs=1e-3)
    assert max(rows[1]["differences"].values()) < 1e-3
    assert rows[2]["bytes"] < rows[1]["bytes"]
