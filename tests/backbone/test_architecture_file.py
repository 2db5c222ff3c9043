"""Networks as data: what is written is read again, and what is wrong is said in one line."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest

from backbone.architecture_file import from_plain, read, to_plain, write
from backbone.errors import InputError
from backbone.families.mobilenet_v2 import mobilenet_v2
from backbone.families.searched import SearchedConfig

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def plain() -> dict[str, Any]:
    return copy.deepcopy(to_plain(mobilenet_v2(0.35)))


def test_a_file_is_json_and_yaml_and_holds_the_network(tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    path = tmp_path / "architecture.yaml"
    write(path, mobilenet_v2(0.35))
    text = path.read_text(encoding="utf-8")
    assert json.loads(text) == yaml.safe_load(text)
    assert from_plain(read(str(path))) == mobilenet_v2(0.35)
    assert SearchedConfig(architecture=str(path)).specs == mobilenet_v2(0.35).specs
    assert SearchedConfig(architecture=str(path), output_stride=16).built == mobilenet_v2(0.35).dilated(16)


WRONG: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no mapping": (lambda p: p.clear(), "architecture: has no stem"),
    "unknown key": (lambda p: p.update(head=1), "unknown key 'head'"),
    "unknown key of a block": (lambda p: p["stages"]["stage2"][0].update(t=6), "stage2.0: has an unknown key 't'"),
    "a missing value": (lambda p: p["stages"]["stage2"][1].pop("kernel"), "stages.stage2.1: has no kernel"),
    "a text": (lambda p: p["stem"].update(channels="8"), "stem.channels='8': must be a whole number"),
    "a truth value": (lambda p: p["stem"].update(channels=True), "stem.channels=True: must be a whole number"),
    "zero": (lambda p: p["stem"].update(channels=0), "stem.channels=0: must be a whole number, 1"),
    "too much": (lambda p: p["stem"].update(channels=10**9), "must be a whole number, 1 .. 16384"),
    "an even kernel": (lambda p: p["stages"]["stage2"][0].update(kernel=4), "kernel=4: must be one of 1, 3, 5"),
    "no activation": (lambda p: p["last"].update(activation="gelu"), "last.activation='gelu': must be one of relu"),
    "a name": (lambda p: p["stages"].update({"a.b": p["stages"]["stage1"]}), "'a.b' is no name of a stage"),
    "no blocks": (lambda p: p["stages"].update(stage1=[]), "stages.stage1: must be a list of one block or more"),
    "many blocks": (lambda p: p["stages"].update(stage1=p["stages"]["stage1"] * 300), "more than 200 blocks"),
    "a level": (lambda p: p["levels"].update(c4="stage9"), "levels.c4: 'stage9' is no feature"),
    "a level that is a list": (lambda p: p["levels"].update(c4=["stage4"]), "levels.c4: ['stage4'] is no feature"),
    "gigabytes": (
        lambda p: [block.update(channels=16_384, expanded=16_384) for block in p["stages"]["stage3"]],
        "has more than 268435456 weights",
    ),
    "linear": (lambda p: p["stages"]["stage1"][0].update(linear=1), "linear=1: must be true or false"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(tmp_path: Path, name: str) -> None:
    spoil, said = WRONG[name]
    data = plain()
    spoil(data)
    path = tmp_path / "architecture.yaml"
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(InputError) as raised:
        read(str(path))
    assert said in str(raised.value)
    assert str(raised.value).startswith(f"backbone.architecture={path}: ")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("stem: 1", "cannot be read"),
        ("[" * 5000, "cannot be read"),
        ("[]", "must be a mapping"),
        ("\0", "cannot be read"),
    ],
)
def test_files_of_another_kind(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=said):
        read(str(path))
    with pytest.raises(InputError, match="no such file"):
        read(str(tmp_path / "nowhere"))


def test_a_searched_network_needs_data_and_takes_no_width() -> None:
    with pytest.raises(InputError, match=r"give backbone\.architecture=FILE"):
        SearchedConfig()
    with pytest.raises(InputError, match="leave the width at 1"):
        SearchedConfig(width=0.5, architecture=plain())
