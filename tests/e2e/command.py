"""The command line in this process: the same `main`, without the seconds that importing torch costs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from hydra.core.global_hydra import GlobalHydra

from tasks.run import main

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

TINY = (
    "backbone.width=0.1",
    "transform.image_size=64",
    "data.scene_size=64",
    "data.train_scenes=12",
    "data.val_scenes=5",
    "data.batch_size=4",
    "data.workers=0",
    "trainer.max_steps=3",
    "evaluation.drawn_images=3",
)


def trident(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """The exit code of `python -m tasks.run WORDS`."""
    monkeypatch.setattr(sys, "argv", ["tasks.run", *words])
    GlobalHydra.instance().clear()
    try:
        main()
    except SystemExit as left:
        return int(left.code or 0)
    return 0


def tiny_run(monkeypatch: pytest.MonkeyPatch, folder: Path, *words: str) -> int:
    """A training of a few steps on a few scenes, into `folder / "run"`."""
    task = () if any(word.startswith("task=") for word in words) else ("task=detection",)
    return trident(monkeypatch, *task, *TINY, f"data.root={folder / 'scenes'}", f"run_dir={folder / 'run'}", *words)
