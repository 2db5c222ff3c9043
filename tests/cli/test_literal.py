"""Paths and names are taken as they are typed. The oracle is Hydra's own parser, whose value is the typed text."""

from __future__ import annotations

import os

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from backbone.errors import InputError
from conf.schema import literal_words
from tasks.data.config import MasksConfig
from tests.e2e.command import trident

HARD = [
    "my photos (2021)", "läufe/ü", "runs/x=1/model.safetensors", r"C:\photos\x.jpg", "C:\\", "a,b", "照片",
    "a'b", 'a"b', "-x",
    "it's [one] {two}", "%d #1", "1e3", "007", "true", "a: b", "x&y|z", "torchvision:IMAGENET1K_V2", "@home", "a\\'b",
]  # fmt: skip
ONE = ["run_dir", "data.parts.birds.root", "+heads.x.weights", "data.train_split"]


def parsed(word: str) -> object:
    return OverridesParser.create().parse_override(word).value()


@pytest.mark.parametrize("value", HARD)
@pytest.mark.parametrize("key", ONE)
def test_a_text_is_what_was_typed(key: str, value: str) -> None:
    assert parsed(literal_words([f"{key}={value}"])[0]) == value


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_any_text_is_what_was_typed(value: str) -> None:
    if value[0] in "'\"$" or value == "null":
        return
    assert parsed(literal_words([f"data.val_split={value}"])[0]) == value


def test_lists_of_names() -> None:
    assert parsed(literal_words(["data.classes=[bär, hund,true,'a, b']"])[0]) == ["bär", "hund", "true", "a, b"]
    assert parsed(literal_words(["data.classes=[]"])[0]) == []
    assert parsed(literal_words(["evaluation.beside=[my run (1),x=2]"])[0]) == ["my run (1)", "x=2"]


def test_home_and_environment_in_paths_and_not_in_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHOTOS", "my photos")
    words = literal_words(["source=~/x", "data.root=$PHOTOS/a", "data.train_split=$PHOTOS", "data.val_split=~"])
    assert [parsed(word) for word in words] == [f"{os.environ['HOME']}/x", "my photos/a", "$PHOTOS", "~"]


@pytest.mark.parametrize(
    "word",
    ["data.root=null", "data.root='a b'", 'run_dir="a b"', "optim.learning_rate=0.1", "data=coco",
     "+data@data.parts.o=coco", "~heads.scene",
     "--config-dir=a=b", "head.taps", "task=detection", "hydra/launcher=joblib", "hydra.sweep.dir=x"],
)  # fmt: skip
def test_what_is_no_text_stays(word: str) -> None:
    assert literal_words([word]) == [word]


def test_commas_of_a_sweep_separate_values() -> None:
    words = literal_words(
        [r"data.root=a b,ü,'c,d',e\,f", "backbone.weights=choice(a,b)", "data.classes=[ä,b],[c]"], is_sweep=True
    )
    parse = OverridesParser.create().parse_override
    assert list(parse(words[0]).sweep_string_iterator()) == ["'a b'", "'ü'", "'c,d'", "'e,f'"]
    assert words[1] == "backbone.weights=choice(a,b)"
    assert list(parse(words[2]).sweep_string_iterator()) == ["['ä','b']", "['c']"]


def test_the_message_shows_the_word_as_it_was_typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trident(monkeypatch, "task=detection", "source=my photos (2021), ü=1") == 2
    assert "source=my photos (2021), ü=1: needs mode=predict" in capsys.readouterr().err
    assert trident(monkeypatch, "task=detection", "data=coco", "data.rot=ü") == 2
    assert "data.rot=ü: cannot be read as it is; the value may need quotes" in capsys.readouterr().err


def test_names_of_tables_that_are_not_ascii() -> None:
    """Hydra's grammar takes such names neither plain nor in quotes; the section reads the text."""
    word = "data.colours={straße: [128,64,128], Bär:[1,2,3]}"
    (quoted,) = literal_words([word])
    assert quoted == "data.colours='{straße: [128,64,128], Bär:[1,2,3]}'"
    assert MasksConfig(colours=word.partition("=")[2]).colours == {"straße": [128, 64, 128], "Bär": [1, 2, 3]}
    assert literal_words(["data.colours={road: [1,2,3]}"]) == ["data.colours={road: [1,2,3]}"]
    with pytest.raises(InputError, match=r"data\.colours=\{ü: is no table; write \{NAME: VALUE"):
        MasksConfig(colours="{ü")
