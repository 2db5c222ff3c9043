"""mode=inspect through the command line: exit codes, files, and a page that opens anywhere."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from backbone.errors import InputError
from tasks.commands.inspect.reading import Reading
from tasks.config.run import Mode, RunConfig
from tasks.config.training import TrainerConfig
from tests.commands.inspect.test_duplicates import noise
from tests.data.builders import jpeg, picture
from tests.e2e.command import TINY, tiny_run, trident
from tests.real_data import ROOT, THERE

if TYPE_CHECKING:
    from pathlib import Path


class Page(HTMLParser):
    """The tags of a page and what they refer to."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.words = ""
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "action", "onload")]

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.mark.parametrize("task", ["classification", "detection", "segmentation"])
def test_sound_data(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tiny_run(monkeypatch, tmp_path, f"task={task}", "mode=inspect", "inspect.samples=3") == 0
    assert "training on this data would be sound" in capsys.readouterr().out
    found = json.loads((tmp_path / "run" / "inspect.json").read_text())
    assert (found["sound"], found["interrupted"]) == (True, False)
    assert {split: held["looked_at"] for split, held in found["splits"].items()} == {"train": 12, "val": 5}
    page = Page(tmp_path / "run" / "inspect.html")
    assert page.tags.count("img") >= 3
    assert "script" not in page.tags
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources)
    assert "Training on this data would be sound." in page.words
    assert (found["coverage"] is not None) == (task == "detection")
    if task == "detection":
        by_size = found["coverage"]["now"]["by_size"]
        assert by_size["all"]["objects"] == found["splits"]["train"]["objects"]


def folders(root: Path) -> Path:
    """Images of two classes; the name of one class and of one file is markup."""
    for number, name in enumerate(("train/<b>a</b>/1", "train/c/2", "val/<b>a</b>/3", "val/c/<script>4")):
        path = root / f"{name}.jpg" if "</b>" not in name else root / name.replace("<b>a</b>", "<b>a") / "x.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(noise(number))
    return root


def test_unsound_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    root = folders(tmp_path / "data")
    (root / "val/c/<script>4.jpg").write_bytes(noise(1))
    (root / "train/c/broken.jpg").write_bytes(jpeg(picture(200, 300))[:3000])
    words = ("task=classification", "data=folder", f"data.root={root}", "mode=inspect", "transform.image_size=64")
    assert trident(monkeypatch, *words, f"run_dir={tmp_path / 'run'}") == 1
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    assert "error: unreadable image in train (1)" in said.out
    assert "error: leak between train and val (1)" in said.out
    found = json.loads((tmp_path / "run" / "inspect.json").read_text())
    assert found["sound"] is False
    assert [finding["kind"] for finding in found["findings"]] == ["unreadable image", "leak between train and val"]
    page = Page(tmp_path / "run" / "inspect.html")
    assert "script" not in page.tags
    assert "b" not in page.tags
    assert "<script>4.jpg" in page.words
    assert "Images that look the same" in page.words


def test_some_images_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tiny_run(monkeypatch, tmp_path, "mode=inspect", "inspect.images=4", "inspect.samples=0") == 0
    found = json.loads((tmp_path / "run" / "inspect.json").read_text())
    assert [(held["images"], held["looked_at"]) for held in found["splits"].values()] == [(12, 4), (5, 4)]
    assert "img" not in Page(tmp_path / "run" / "inspect.html").tags


def test_no_data_is_bad_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("mode=inspect", "data=coco", f"data.root={tmp_path / 'nowhere'}", f"run_dir={tmp_path / 'run'}")
    assert trident(monkeypatch, *words) == 2
    assert "there is no such folder" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    for word, message in (
        ("inspect.images=0", "inspect.images=0: must be at least 1, or null for all"),
        ("inspect.samples=201", "inspect.samples=201: must be 0 .. 200"),
    ):
        assert trident(monkeypatch, "mode=inspect", word) == 2
        assert message in capsys.readouterr().err
    with pytest.raises(
        InputError, match=r"^checkpoint=x: mode=inspect looks at data and needs no weights; leave it out"
    ):
        RunConfig(mode=Mode.inspect, checkpoint="x", trainer=TrainerConfig(max_steps=1))


def test_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    whole = Reading.read

    def read(self: Reading, *how: object) -> None:
        if len(self.positions) == 5:
            raise KeyboardInterrupt
        whole(self, *how)  # type: ignore[arg-type]

    monkeypatch.setattr(Reading, "read", read)
    assert tiny_run(monkeypatch, tmp_path, "mode=inspect") == 130
    assert "this is what was read until then" in capsys.readouterr().out
    found = json.loads((tmp_path / "run" / "inspect.json").read_text())
    assert found["interrupted"] is True
    assert [held["looked_at"] for held in found["splits"].values()] == [12, 0]
    assert "Interrupted" in Page(tmp_path / "run" / "inspect.html").words


@pytest.mark.slow
def test_a_page_of_200_images_is_small_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [word for word in TINY if not word.startswith(("data.train_scenes", "transform.image_size"))]
    more = ("data.train_scenes=210", "transform.image_size=384", "inspect.samples=200", "mode=inspect")
    run = tmp_path / "run"
    assert trident(monkeypatch, *words, *more, f"data.root={tmp_path / 'scenes'}", f"run_dir={run}") == 0
    assert Page(run / "inspect.html").tags.count("img") == 200
    assert (run / "inspect.html").stat().st_size < 15e6


@pytest.mark.real_data
@THERE
@pytest.mark.parametrize(
    ("task", "data", "folder", "code", "kinds"),
    [
        ("detection", "voc", "bccd", 1, ["degenerate box", "degenerate box", "leak between train and val"]),
        ("detection", "coco", "coco", 0, []),
        ("segmentation", "voc", "VOCdevkit", 0, []),
        ("classification", "folder", "hymenoptera", 0, []),
        ("classification", "imagenet", "imagenet", 1, ["no training data"]),
    ],
)
def test_real_data(
    task: str, data: str, folder: str, code: int, kinds: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("mode=inspect", f"task={task}", f"data={data}", f"data.root={ROOT / folder}", f"run_dir={tmp_path / 'r'}")
    assert trident(monkeypatch, *words) == code
    found = json.loads((tmp_path / "r" / "inspect.json").read_text())
    errors = [finding for finding in found["findings"] if finding["severity"] == "error"]
    assert [finding["kind"] for finding in errors] == kinds
    if folder == "bccd":
        names = [re.findall(r"BloodImage_\d+", finding["text"]) for finding in errors]
        # The third is one smear twice, at another focus: seen with our own eyes.
        assert names == [["BloodImage_00343"], ["BloodImage_00338"], ["BloodImage_00038", "BloodImage_00037"]]
