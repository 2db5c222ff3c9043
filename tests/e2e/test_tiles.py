"""Evaluation and prediction in tiles, and least scores by class, through the command line."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

from tests.e2e.command import TINY, tiny_run, trident

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_in_tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert tiny_run(monkeypatch, tmp_path) == 0
    run, scenes = tmp_path / "run", tmp_path / "scenes"
    weights = f"checkpoint={run / 'model.safetensors'}"
    size = [word for word in TINY if word.startswith("data.")]
    evaluate = ("mode=evaluate", "task=detection", weights, *size, f"data.root={scenes}", "evaluation.drawn_images=2")
    found = {}
    for name, words in (("whole", ("predict.tiles=null",)), ("tiles", ("predict.tiles=40",)), ("auto", ())):
        assert trident(monkeypatch, *evaluate, *words, f"run_dir={tmp_path / name}") == 0
        found[name] = json.loads((tmp_path / name / "predictions.json").read_text())
    assert found["auto"] == found["whole"] != found["tiles"]
    assert all(0 <= x <= 64 and 0 <= y <= 64 for x, y, _, _ in (one["bbox"] for one in found["tiles"]))
    rows = list(csv.reader((tmp_path / "tiles" / "confusion.csv").read_text(encoding="utf-8").splitlines()))
    assert rows[0][-1] == "not found"
    assert rows[-1][0] == "nothing there"
    capsys.readouterr()
    (run / "best_scores.json").write_text('{"disc": 0.25}')
    predict = ("mode=predict", weights, f"source={scenes / 'val'}", "predict.tiles=40")
    names = json.loads((run / "metrics.json").read_text())["val"]
    known = next(name.partition("/")[2] for name in names if name.startswith("map/"))
    for words, code, said in (
        (("predict.score=best",), 0, "answered in"),
        ((f"predict.score={{{known}: 0.0}}",), 0, "answered in"),
        (("predict.score={horse: 0.5}",), 2, "predict.score.horse: there is no such class; there are "),
        (("predict.score={horse: 5}",), 2, "predict.score.horse=5: must be in [0, 1]"),
        (("predict.score=high",), 2, "predict.score=high: must be in [0, 1], a table as {person: 0.5}, or best"),
        ((f"predict.score={tmp_path / 'none.json'}",), 2, "none.json cannot be read"),
        (("predict.tiles=8",), 2, "predict.tiles=8: must be at least 32 pixels, auto, or null for none"),
        (("predict.tiles=large",), 2, "predict.tiles=large: must be at least 32 pixels"),
    ):
        folder = tmp_path / f"predicted_{len(list(tmp_path.iterdir()))}"
        assert trident(monkeypatch, *predict, *words, f"run_dir={folder}") == code, words
        out = capsys.readouterr()
        assert said in out.out + out.err
    (run / "best_scores.json").unlink()
    assert trident(monkeypatch, *predict, "predict.score=best", f"run_dir={tmp_path / 'no'}") == 2
    assert "has no best_scores.json; evaluate with mode=evaluate" in capsys.readouterr().err
