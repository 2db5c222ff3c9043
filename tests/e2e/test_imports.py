"""What a command imports: frameworks of training take seconds to load, and nothing but training needs them.

torch's compiler, which torchvision imports, takes longer than torch: who wants an image's boxes does not wait for it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.e2e.command import TINY, tiny_run

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

SCRIPT = """
import json, sys
from hydra.core.global_hydra import GlobalHydra
from tasks.run import main

TRAINING = {"lightning", "pytorch_lightning", "torchmetrics", "tensorboard"}
ANSWERING = TRAINING | {"torchvision", "torch._dynamo", "albumentations"}
loaded = {}
for name, words in json.loads(sys.argv[1]).items():
    sys.argv[1:] = words
    GlobalHydra.instance().clear()
    try:
        main()
    except SystemExit as left:
        assert not left.code, (name, left.code)
    if name == "predict":
        import tasks.commands.demo.job
    loaded[name] = sorted((ANSWERING if name in ("evaluate", "predict") else TRAINING) & set(sys.modules))
import tasks.commands.export.job
loaded["export"] = sorted(TRAINING & set(sys.modules))
print(json.dumps(loaded))
"""


def test_only_training_imports_what_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tiny_run(monkeypatch, tmp_path, "trainer.max_steps=1") == 0
    model, data = f"checkpoint={tmp_path / 'run/model.safetensors'}", f"data.root={tmp_path / 'scenes'}"
    picture = next((tmp_path / "scenes").rglob("*.jpg"))
    commands = {
        "evaluate": ["mode=evaluate", model, "data.workers=0"],
        "predict": ["mode=predict", model, f"source={picture}"],
        "profile": ["mode=profile", "backbone.width=0.1", "transform.image_size=64", "profile.passes=1"],
        "inspect": ["mode=inspect", "task=detection", *TINY, data],
        "pack": ["mode=pack", "task=detection", *TINY, data],
    }
    words = {name: [*given, f"run_dir={tmp_path / name}"] for name, given in commands.items()}
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(words)], capture_output=True, text=True, check=False, timeout=300
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout.splitlines()[-1]) == {name: [] for name in (*words, "export")}
