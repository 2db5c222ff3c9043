"""The contact sheet of a classifier: what is on it, where, and in what colour."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

from backbone.errors import InputError
from heads.structures import Batch, Classification
from tasks.config.evaluation import EvaluationConfig
from tasks.data.labels import LabelMap
from tasks.data.sample import Sample
from tasks.drawing.class_sheet import RIGHT, WRONG, ClassifiedImage, class_sheet
from tasks.drawing.contact_sheet import CELL_PX, MARGIN_PX
from tasks.evaluators import classification as module
from tasks.evaluators.classification import ClassificationEvaluator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

NAMES = ["ants", "bees", "пчела"]
BLUE = (0, 0, 255)


def answer(
    predicted: str = "bees", truth: str = "ants", p: float | None = 0.9, size: tuple[int, int] = (90, 120)
) -> ClassifiedImage:
    return ClassifiedImage(np.full((*size, 3), BLUE, np.uint8), truth, predicted, p, "a.jpg")


def read(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def rows_of(sheet: NDArray[np.uint8], colour: tuple[int, int, int]) -> NDArray[np.int64]:
    """Where a bar of this colour crosses the first image's place."""
    return np.flatnonzero((sheet[:, MARGIN_PX : MARGIN_PX + CELL_PX] == colour).all(axis=(1, 2)))


def test_wrong_answers_come_first_and_are_red(tmp_path: Path) -> None:
    sheet = read(class_sheet([answer(), answer("ants", "ants")], tmp_path / "s.png", title="run", note="1 of 2"))
    red, green = rows_of(sheet, WRONG), rows_of(sheet, RIGHT)
    assert len(red) == len(green) == 4
    assert red.max() < green.min()
    assert (sheet[red[0] - 1, MARGIN_PX : MARGIN_PX + CELL_PX] == BLUE).all()  # the image ends on the bar


def test_names_with_line_breaks_stay_on_their_line(tmp_path: Path) -> None:
    sheets = [
        read(class_sheet([answer(name, name)], tmp_path / "s.png", title=name, note=name))
        for name in ("a\nb\x1b", r"a\nb\x1b")
    ]
    assert np.array_equal(*sheets)


def test_scores_that_are_no_numbers_are_wrong() -> None:
    assert not answer("ants", "ants", None).is_right
    assert answer("ants", "ants", 0.0).is_right


@pytest.mark.parametrize("count", [1, 4, 9])
def test_any_number_and_shape_and_script(count: int, tmp_path: Path) -> None:
    sizes = [(1, 1), (10, 900), (900, 10), (300, 400)]
    sheet = read(class_sheet([answer("пчела", size=sizes[n % 4]) for n in range(count)], tmp_path / "s.png"))
    assert sheet.shape[1] == 2 * MARGIN_PX + min(count, 4) * CELL_PX + (min(count, 4) - 1) * 12


def test_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"class sheet .*s.png: there are no images to draw; give at least one"):
        class_sheet([], tmp_path / "s.png")


class Pictures:
    """Ten images of class 0."""

    labels = LabelMap.numbered(NAMES)

    def __len__(self) -> int:
        return 10

    def classes(self) -> NDArray[np.int64]:
        return np.zeros(10, np.int64)

    def path(self, index: int) -> Path:
        return Path(f"{index}.jpg")

    def __getitem__(self, index: int) -> Sample:
        return Sample(image=np.zeros((8, 8, 3), np.uint8), image_id=index, size=(8, 8), class_index=0)


def chosen(wrong: dict[int, float], drawn: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[ClassifiedImage]:
    """What is drawn when the positions in `wrong` get class 1 by that probability, and the others class 0 by 0.8."""
    data = Pictures()
    evaluator = ClassificationEvaluator("classification", data, data.labels, EvaluationConfig(drawn_images=drawn))
    scores = [[1 - wrong[n], wrong[n], 0 * wrong[n]] if n in wrong else [0.8, 0.2, 0.0] for n in range(len(data))]
    batch = Batch(torch.zeros(10, 3, 8, 8, dtype=torch.uint8), {}, torch.full((10, 2), 8), torch.arange(10))
    evaluator.update(batch, [Classification(torch.tensor(row)) for row in scores])
    said: list[tuple[list[ClassifiedImage], str]] = []

    def keep(answers: Sequence[ClassifiedImage], path: Path, *, title: str, note: str) -> None:
        said.append((list(answers), note))

    monkeypatch.setattr(module, "class_sheet", keep)
    evaluator.write(folder, "")
    if not said:
        return []
    assert said[0][1] == f"{len(wrong)} of 10 images are wrong"
    return said[0][0]


def test_the_surest_mistakes_and_some_right_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = chosen({1: 0.6, 4: 0.9, 5: 0.7, 8: float("nan")}, 3, tmp_path, monkeypatch)
    assert [(one.caption, one.predicted, one.is_right) for one in answers] == [
        ("4.jpg", "bees", False), ("5.jpg", "bees", False), ("0.jpg", "ants", True),
    ]  # fmt: skip
    assert answers[0].probability == pytest.approx(0.9)
    everything = chosen({1: 0.6, 4: 0.9, 5: 0.7, 8: float("nan")}, 50, tmp_path, monkeypatch)
    assert [one.caption for one in everything[:4]] == ["4.jpg", "5.jpg", "1.jpg", "8.jpg"]
    assert everything[3].probability is None
    assert len(everything) == 10


def test_places_that_one_kind_does_not_need_go_to_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [one.is_right for one in chosen({}, 3, tmp_path, monkeypatch)] == [True] * 3
    every = dict.fromkeys(range(10), 0.9)
    assert [one.caption for one in chosen(every, 3, tmp_path, monkeypatch)] == ["0.jpg", "1.jpg", "2.jpg"]
    assert chosen(every, 0, tmp_path, monkeypatch) == []
