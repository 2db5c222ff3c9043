from __future__ import annotations

import json

import pytest

from backbone.errors import InputError
from tasks.data.labels import LabelMap


def test_both_directions_with_gaps() -> None:
    labels = LabelMap(("dog", "cat", "owl"), (2, 7, 90))
    assert labels.num_classes == 3
    assert [labels.to_index(category) for category in (2, 7, 90)] == [0, 1, 2]
    assert [labels.to_id(index) for index in range(3)] == [2, 7, 90]
    assert 7 in labels
    assert 1 not in labels


def test_survives_json() -> None:
    labels = LabelMap(("dog", "cat"), (2, 7))
    assert LabelMap.from_plain(json.loads(json.dumps(labels.to_plain()))) == labels
    assert len({labels, LabelMap(["dog", "cat"], [2, 7]), LabelMap.numbered(["dog", "cat"])}) == 2
    assert repr(labels) == "LabelMap(names=('dog', 'cat'), ids=(2, 7))"


def test_numbered_starts_at_one() -> None:
    assert LabelMap.numbered(["a", "b"]).ids == (1, 2)


@pytest.mark.parametrize(
    ("names", "ids", "message"),
    [
        ((), (), "there is no class"),
        (("a", "b"), (1,), "2 names but 1 ids"),
        (("a", "a"), (1, 2), "class name 'a' occurs 2 times"),
        (("a", "b"), (3, 3), "class id 3 occurs 2 times"),
    ],
)
def test_refused(names: tuple[str, ...], ids: tuple[int, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        LabelMap(names, ids)


@pytest.mark.parametrize("index", [-1, 1])
def test_no_such_index(index: int) -> None:
    with pytest.raises(IndexError, match=rf"class index {index}: must be in 0 \.\. 0"):
        LabelMap(("a",), (1,)).to_id(index)


def test_no_such_id() -> None:
    with pytest.raises(KeyError, match="5"):
        LabelMap(("a",), (1,)).to_index(5)


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"ids": [1]}, "names=None must be a list of str"),
        ({"names": ["a"], "ids": "1"}, "ids='1' must be a list of int"),
    ],
)
def test_plain_of_another_kind(plain: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        LabelMap.from_plain(plain)
