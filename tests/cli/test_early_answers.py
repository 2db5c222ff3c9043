"""What is wrong with paths is said before torch is loaded, which takes seconds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
from tasks.run import main
try:
    main()
finally:
    print("torch" in sys.modules)
"""


def answer(folder: Path, *words: str) -> tuple[int, str, str]:
    """Exit code, whether torch was loaded, and what was said, of a command in `folder`."""
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {root!r}){PROGRAM}", *words],
        capture_output=True, text=True, cwd=folder, check=False, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stdout.strip(), done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["task=detection", "data=coco"], "data.root is not set"),
        (["task=detection", "data=coco", "data.root=here"], "instances_train2017.json: there is no such file"),
        (["task=segmentation", "data=masks", "data.root=here"], "data.classes is not set"),
        (
            ["task=segmentation", "data=masks", "data.root=here", "data.classes=[a,b]"],
            "images/train: there is no such folder",
        ),
        (["task=segmentation", "data=voc", "data.root=nowhere"], "nowhere: there is no such folder"),
        (["task=classification", "data=folder", "data.root=here"], "here/train: there is no such folder"),
        (["task=classification", "data=shards"], "data.root is not set"),
        (["mode=evaluate", "checkpoint=nowhere.safetensors"], "nowhere.safetensors"),
        (["mode=predict", "checkpoint=nowhere.safetensors", "source=here"], "nowhere.safetensors"),
        (["mode=evaluate", "data=coco", "predictions=a.json", "data.annotations=nowhere.json"], "nowhere.json"),
    ],
)
def test_said_without_torch(tmp_path: Path, words: list[str], said: str) -> None:
    (tmp_path / "here").mkdir()
    code, loaded, text = answer(tmp_path, *words)
    assert code == 2
    assert said in text
    assert loaded == "False"
    assert "Traceback" not in text
