"""Several heads through the command line, on built-in data."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.e2e.command import TINY, trident

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WORDS = ("task=multitask", *TINY, "transform.image_size=65", "trainer.max_steps=2", "logger.every_steps=1")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("multitask")
    with pytest.MonkeyPatch.context() as patch:
        words = (*WORDS, f"data.root={folder / 'scenes'}", f"run_dir={folder / 'run'}", "optim.balance=uncertainty")
        assert trident(patch, *words, "optim.heads_first=1") == 0
    return folder / "run"


def test_trains_three_heads_and_leaves_their_files(run: Path) -> None:
    figures = json.loads((run / "metrics.json").read_text())["val"]
    assert {"scene/top1", "objects/map", "regions/miou", "objects/map/circle"} <= set(figures)
    for name in ("predictions_scene.csv", "predictions_objects.json", "contact_sheet_regions.png", "report.html"):
        assert (run / name).is_file()
    page = (run / "report.html").read_text()
    assert "Multi-task training" in page
    assert all(f'data-head="{head}"' in page for head in ("scene", "objects", "regions"))
    columns = (run / "csv" / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"gradient/objects", "weight/regions", "val/main", "val/objects/map"} <= set(columns)
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["heads"]["objects"]["head"]["taps"] == ["c4.expand", "last"]
    assert config["head"] is None


def test_checkpoint_alone_reproduces_the_figures(run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    words = ("mode=evaluate", f"checkpoint={run / 'model.safetensors'}")
    assert trident(monkeypatch, *words, f"run_dir={tmp_path / 'all'}") == 0
    figures = json.loads((run / "metrics.json").read_text())["val"]
    assert json.loads((tmp_path / "all" / "metrics.json").read_text())["val"] == figures
    assert trident(monkeypatch, *words, f"run_dir={tmp_path / 'one'}", "only=[objects]") == 0
    alone = json.loads((tmp_path / "one" / "metrics.json").read_text())["val"]
    assert alone == {name: value for name, value in figures.items() if name.startswith("objects/")}


def test_answers_about_pictures_with_all_heads_and_with_some(
    run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = ("mode=predict", f"checkpoint={run / 'model.safetensors'}", f"source={run.parent / 'scenes' / 'val'}")
    assert trident(monkeypatch, *words, f"run_dir={tmp_path / 'all'}") == 0
    assert trident(monkeypatch, *words, f"run_dir={tmp_path / 'some'}", "only=[regions]") == 0
    both = [sorted((tmp_path / name / "masks").rglob("*.png")) for name in ("all", "some")]
    assert len(both[0]) == len(both[1]) == 5
    assert [path.read_bytes() for path in both[0]] == [path.read_bytes() for path in both[1]]
    assert (tmp_path / "all" / "detections.json").is_file()
    assert not (tmp_path / "some" / "detections.json").exists()


def test_profile_says_what_the_strides_cost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ("mode=profile", "task=multitask", "backbone.width=0.1", "backbone.last_stride=32")
    words += ("transform.image_size=65", "profile.passes=1")
    assert trident(monkeypatch, *words, f"run_dir={tmp_path / 'run'}") == 0
    assert "output stride 16, last 32 (this one)" in capsys.readouterr().out
    strides = json.loads((tmp_path / "run" / "profile.json").read_text())["strides"]
    assert [row["chosen"] for row in strides].count(True) == 1


MIXED = ("data=mixed", "~heads.scene")
BAD = [
    (("heads.objects.loss_wieght=2",), "did you mean heads.objects.loss_weight? The keys of heads.objects: kind, head"),
    (("heads.objcts.lr_factor=2",), "did you mean heads.objects? The keys of heads: scene, objects, regions"),
    (("+heads@heads.objects=linear",), "+heads@heads.objects: there is one of that name already; name another"),
    (("+heads@heads.more=ssdlit",), "did you mean ssdlite?"),
    (("~heads.scene", "~heads.objects", "~heads.regions"), "heads: there are none; add one by"),
    (MIXED, "heads.objects: has no data: data.parts has no objects"),
    ((*MIXED, "+data@data.parts.objects=coco", "+data@data.parts.region=voc"), "did you mean region?"),
    ((*MIXED, "+data@data.parts.objects=coco", "data.ratio={objects: 0}"), "data.ratio.objects=0: must be a positive"),
    (("only=[scene]",), "chooses among the heads of a checkpoint"),
]


@pytest.mark.parametrize(("words", "message"), BAD)
def test_bad_input(
    words: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trident(monkeypatch, "task=multitask", *words) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said


def test_wrong_choice_of_heads(run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("mode=evaluate", f"checkpoint={run / 'model.safetensors'}")
    assert trident(monkeypatch, *words, "only=[region]") == 2
    assert "has no region, it has scene, objects, regions; did you mean regions?" in capsys.readouterr().err
    assert trident(monkeypatch, *words, "only=[]") == 2
    assert "only=[]: names no head" in capsys.readouterr().err
