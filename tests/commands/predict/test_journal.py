"""What an interrupted run leaves, and how the next one goes on."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from backbone.errors import InputError
from tasks.commands.predict.journal import FILE, Entry, Journal
from tasks.commands.predict.results import suffixes, write_results
from tasks.data.labels import LabelMap

if TYPE_CHECKING:
    from pathlib import Path

MADE_BY = {"checkpoint": "sha256:12", "predict.score": 0.3}


def entry(number: int, **changes: object) -> Entry:
    return Entry(**{"file": f"{number}.jpg", "image_id": number, "name": str(number), "size": [2, 3]} | changes)  # type: ignore[arg-type]


def test_goes_on_after_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / FILE
    with closing(Journal(path, MADE_BY)) as journal:
        assert (journal.resumed, journal.new_id(), journal.new_id()) == (False, 1, 2)
        journal.add(entry(1))
        journal.add(entry(2))
    with path.open("ab") as file:
        file.write(b'{"file": "3.jpg", "ima')
    with closing(Journal(path, MADE_BY)) as journal:
        assert journal.resumed
        assert [kept.file for kept in journal] == ["1.jpg", "2.jpg"]
        assert journal.new_id() == 3
        journal.add(entry(3))
        assert [kept.file for kept in journal] == ["1.jpg", "2.jpg", "3.jpg"]
    assert len([json.loads(line) for line in path.read_text().splitlines()]) == 4


def test_a_first_line_that_was_torn_is_written_again(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b'{"form')
    with closing(Journal(tmp_path / FILE, MADE_BY)) as journal:
        journal.add(entry(1))
    with closing(Journal(tmp_path / FILE, MADE_BY)) as journal:
        assert [kept.file for kept in journal] == ["1.jpg"]


def test_the_latest_line_about_a_picture_counts(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / FILE, MADE_BY)) as journal:
        journal.add(entry(1, error="unreadable", image_id=0))
        journal.add(entry(2))
        journal.add(entry(1))
        assert [(kept.file, kept.error) for kept in journal] == [("1.jpg", ""), ("2.jpg", "")]


def test_only_the_same_model_and_options_go_on(tmp_path: Path) -> None:
    path = tmp_path / FILE
    Journal(path, MADE_BY).close()
    with pytest.raises(
        InputError, match=r"was begun with predict\.score=0\.3, and now it is 0\.5; name another folder"
    ):
        Journal(path, MADE_BY | {"predict.score": 0.5})
    with pytest.raises(InputError, match=r"begun with checkpoint=sha256:12, and now it is None"):
        Journal(path, {"predict.score": 0.3})


def test_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / FILE
    path.write_text('{"format": "trident-predict-9", "made_by": {}}\n')
    with pytest.raises(InputError, match=r"has format trident-predict-9; this version goes on with trident-predict-1"):
        Journal(path, MADE_BY)
    path.unlink()
    Journal(path, MADE_BY).close()
    with path.open("a") as file:
        file.write('nonsense\n{"file": "1.jpg"}\n')
    with pytest.raises(InputError, match=r"line 2 is damaged .*; name another run_dir, or remove that line"):
        Journal(path, MADE_BY)
    (tmp_path / "folder").write_text("")
    with pytest.raises(InputError, match=r"cannot be written .*; choose a folder"):
        Journal(tmp_path / "folder" / FILE, MADE_BY)


def test_heads_of_one_kind_have_files_of_their_own(tmp_path: Path) -> None:
    assert suffixes({"a": "detections", "b": "detections", "c": "mask"}) == {"a": "_a", "b": "_b", "c": ""}
    found = {"image_id": 1, "category_id": 7, "bbox": [0, 0, 1, 1], "score": 0.5}
    answers = {"near": {"detections": [found]}, "far": {"detections": []}}
    labels = {"near": LabelMap(["ant"], [7]), "far": LabelMap(["bee"], [1])}
    write_results(lambda: [entry(1, answers=answers)], tmp_path, labels)
    assert json.loads((tmp_path / "detections_near.json").read_text()) == [found]
    assert json.loads((tmp_path / "detections_far.json").read_text()) == []
    assert json.loads((tmp_path / "images_far.json").read_text()) == {
        "images": [{"id": 1, "file_name": "1.jpg", "height": 2, "width": 3}],
        "annotations": [],
        "categories": [{"id": 1, "name": "bee"}],
    }


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(Journal(tmp_path / FILE, MADE_BY)) as journal:

        class Full:
            def seek(self, *_: int) -> int:
                return 0

            def write(self, _: bytes) -> int:
                raise OSError(28, "No space left on device")

        kept, journal._file = journal._file, Full()  # type: ignore[assignment]
        with pytest.raises(InputError, match=r"journal\.jsonl: the disk is full; free some space and run again"):
            journal.add(entry(1))
        journal._file = kept
