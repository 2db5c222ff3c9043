"""Every mistake gets one line that names it and the remedy, and an exit code that is not zero."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.e2e.command import TINY, tiny_run, trident

if TYPE_CHECKING:
    from pathlib import Path

WORDS = [
    ("backbone.widht=2", "backbone.widht=2: there is no such key; did you mean backbone.width?"),
    ("width=0.5", "did you mean backbone.width?"),
    ("backbone.width=wide", "backbone.width=wide: must be a number"),
    ("backbone.width=0", "backbone.width=0.0: must be at least 0.1"),
    ("backbone.output_stride=12", "must be one of (8, 16, 32)"),
    ("backbone.padding=same", "must be one of symmetric, tf_same or null"),
    ("trainer.max_steps=many", "trainer.max_steps=many: must be a whole number or null"),
    ("head.taps=last", "head.taps=last: must be a list"),
    ("+head.foo=1", "+head.foo=1: there is no such key"),
    ("+foo=1", "+foo=1: there is no such key"),
    (
        "data=coc",
        "data=coc: there is no such option; did you mean coco? "
        "Allowed: coco, folder, imagenet, masks, mixed, shapes, shards, voc",
    ),
    ("task=detectoin", "task=detectoin: there is no such option; did you mean detection?"),
    ("backbone.width", "backbone.width: is no override; write key=value"),
    ("mode=evaluate", "give checkpoint=FILE"),
    ("checkpoint=none.safetensors", "checkpoint=none.safetensors: no such file"),
    ("predictions=x.json", "predictions=x.json: needs mode=evaluate"),
    ("seed=-1", "seed=-1: must not be negative"),
    ("trainer.precision=fp8", "trainer.precision=fp8: must be one of 32-true"),
    ("trainer.accelerator=tpu", "trainer.accelerator=tpu: this machine has none; must be one of auto, cpu"),
    ("optim.learning_rate=0", "optim.learning_rate=0.0: must be positive"),
]


@pytest.mark.parametrize(("word", "message"), WORDS)
def test_wrong_words(
    word: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trident(monkeypatch, word) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said


def test_answers_wrong_words_without_loading_torch() -> None:
    code = (
        "import sys; sys.argv = ['tasks.run', 'backbone.widht=1']\n"
        "from tasks.run import main\n"
        "try: main()\n"
        "except SystemExit as left: print(left.code)\n"
        "heavy = {'torch', 'numpy', 'lightning', 'cv2', 'albumentations', 'torchvision'} & set(sys.modules)\n"
        "print(sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["2", "[]"]


def test_help_and_configuration_load_nothing_heavy() -> None:
    for word in ("--help", "--cfg=job"):
        code = (
            f"import sys; sys.argv = ['tasks.run', '{word}']\n"
            "from tasks.run import main\n"
            "main()\n"
            "assert not {'torch', 'numpy', 'lightning', 'cv2'} & set(sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert "backbone" in done.stdout


def test_run_folder_in_use(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "something").touch()
    assert tiny_run(monkeypatch, tmp_path) == 2
    assert "is not empty, and no training begun there; name another folder" in capsys.readouterr().err


def test_missing_data_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert trident(monkeypatch, "data=coco", "data.root=nowhere", f"run_dir={tmp_path / 'run'}") == 2
    said = capsys.readouterr().err
    assert "nowhere" in said
    assert not (tmp_path / "run").exists()
    assert "data.download=true" in said


def test_scoring_needs_annotations(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert trident(monkeypatch, "mode=evaluate", "predictions=x.json", "data=coco") == 2
    assert "say data=coco data.annotations=FILE" in capsys.readouterr().err


def test_checkpoint_of_another_kind(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert tiny_run(monkeypatch, tmp_path) == 0
    file = tmp_path / "run" / "model.safetensors"
    words = ("mode=evaluate", f"checkpoint={file}", f"run_dir={tmp_path / 'again'}")
    assert trident(monkeypatch, *words, "backbone.width=0.5") == 2
    assert "holds another model" in capsys.readouterr().err
    file.write_bytes(file.read_bytes()[:-100])
    assert trident(monkeypatch, *words) == 2
    assert "it is cut short or longer); copy or get it again" in capsys.readouterr().err


def test_truncated_picture_names_the_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert tiny_run(monkeypatch, tmp_path) == 0
    scene = sorted((tmp_path / "scenes").rglob("train*/*.jpg"))[0]
    scene.write_bytes(scene.read_bytes()[:400])
    code = trident(
        monkeypatch,
        *TINY[:2],
        "data=coco",
        f"data.root={next((tmp_path / 'scenes').rglob('annotations')).parent}",
        "data.train_split=train",
        "data.val_split=val",
        "data.workers=1",
        "trainer.max_steps=4",
        f"run_dir={tmp_path / 'coco'}",
    )
    assert code == 2
    said = capsys.readouterr().err
    assert scene.name in said
    assert "Traceback" not in said
