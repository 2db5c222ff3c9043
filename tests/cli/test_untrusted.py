"""Files that somebody else wrote: whatever their header says, it runs nothing and chooses nothing of the run."""

from __future__ import annotations

import contextlib
import copy
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from hydra import compose, initialize_config_module
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from backbone.errors import InputError
from conf.schema import register
from tasks.checkpoints.model_file import GROUPS, Header
from tasks.cli import restore
from tasks.cli.restore import SECTIONS
from tasks.cli.untrusted import RUN_OWNED, check_choices
from tasks.config.run import RunConfig
from tasks.deploy.header import ArtifactHeader

if TYPE_CHECKING:
    from collections.abc import Iterator
TASKS = ("classification", "detection", "segmentation", "multitask")
OWNED = ("run_dir", "checkpoint", "artifact", "source", "predictions", "trainer", "logger", "optim", "seed", "mode",
         "predict", "demo", "export", "pack", "inspect", "profile", "only")  # fmt: skip
"""What belongs to the run that uses a file."""


def touch(path: str) -> None:
    """What a header's `_target_` would call, were it called."""
    raise AssertionError(f"a header ran code: {path}")


ATTACK = {"_target_": f"{__name__}.touch", "path": "x"}
BESIDE = ("_target_", "_partial_", "_recursive_", "_convert_", "+x", "a.b", "hydra", "__class__", "", "x")
EVIL: tuple[Any, ...] = (ATTACK, [ATTACK], {"deep": [ATTACK]}, {"_partial_": True}, "${oc.env:HOME}", ["${seed}"],
                         "???", float("nan"), float("-inf"))  # fmt: skip


def trained(task: str) -> Header:
    """As a training of the task on built-in data leaves it."""
    composed = compose("config", overrides=[f"task={task}"], return_hydra_config=True)
    choices = {
        key: choice
        for key, choice in composed.hydra.runtime.choices.items()
        if key in GROUPS or key.startswith(("heads@", "data@"))
    }
    config: Any = OmegaConf.to_container(
        OmegaConf.masked_copy(composed, [key for key in composed if key != "hydra"]), resolve=True, enum_to_str=True
    )
    return Header(config=config, choices=choices, labels={}, provenance={})


@pytest.fixture(scope="module", autouse=True)
def _hydra() -> Iterator[None]:
    register()
    with initialize_config_module("conf", version_base="1.3"):
        yield


class Reader:
    """The command `mode=evaluate checkpoint=FILE` with a header instead of the file; composed once for every task."""

    def __init__(self) -> None:
        self.headers = {task: trained(task) for task in TASKS}
        self.bases = {task: compose("config", [f"task={task}", *self.words("checkpoint")]) for task in TASKS}

    @staticmethod
    def words(kind: str) -> list[str]:
        return ["mode=evaluate", f"{kind}=m.safetensors"]

    def header(self, task: str) -> Header:
        return copy.deepcopy(self.headers[task])

    def __call__(self, header: Any) -> dict[str, Any]:
        """The whole configuration, as plain data."""
        kind = "artifact" if isinstance(header, ArtifactHeader) else "checkpoint"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(restore, "is_foreign", lambda path: False)
            patch.setattr(restore, "read_header", lambda path: header)
            patch.setattr(restore, "read_artifact", lambda path: header)
            start = self.bases["detection"] if kind == "checkpoint" else compose("config", self.words(kind))
            composed = restore.with_checkpoint(copy.deepcopy(start), self.words(kind))
        assert isinstance(OmegaConf.to_object(composed), RunConfig)
        plain: Any = OmegaConf.to_container(composed, resolve=True, enum_to_str=True)
        return plain


@pytest.fixture(scope="module")
def read(_hydra: None) -> Reader:
    return Reader()


def paths(config: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Of all values, and of the tables that hold them."""
    if path:
        yield path
    if isinstance(config, dict):
        for key, value in config.items():
            yield from paths(value, (*path, key))


def keys(read: Reader, task: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Sections of a header, and the paths of all that is in them."""
    for section in ("heads",) if task == "multitask" else SECTIONS:
        for path in paths(read.headers[task].config[section]):
            yield section, path


def laid(read: Reader, task: str, section: str, said: Any) -> tuple[Any, str]:
    """What a section comes to where a header says `said`, and why that was refused, or nothing."""
    config, header = copy.copy(read.bases[task]), read.headers[task]
    config[section] = copy.deepcopy(read.bases[task][section])
    try:
        restore._restore(config, section, said, "checkpoint=m.safetensors", header, {})
    except InputError as error:
        return None, str(error)
    return OmegaConf.to_container(config[section], resolve=True, enum_to_str=True), ""


def put(config: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for key in path[:-1]:
        config = config[key]
    config[path[-1]] = value


@pytest.mark.parametrize("task", TASKS)
def test_an_honest_header_gives_the_configuration_back(read: Reader, task: str) -> None:
    found, header = read(read.header(task)), read.header(task)
    assert {section: found[section] for section in SECTIONS} == {
        section: header.config[section] for section in SECTIONS
    }


@pytest.mark.parametrize("task", TASKS)
def test_no_value_of_any_key_is_more_than_a_value(read: Reader, task: str) -> None:
    for section, path in keys(read, task):
        for evil in EVIL:
            said = read.header(task).config[section]
            put(said, path, evil)
            found, refusal = laid(read, task, section, said)
            assert "\n" not in refusal
            if not refusal:  # what is the user's alone is left as it is
                assert path[-1] in RUN_OWNED, path
                assert found == read.headers[task].config[section]


@pytest.mark.parametrize("task", TASKS)
def test_no_key_beside_those_of_the_schema(read: Reader, task: str) -> None:
    for section, path in [(section, ()) for section in SECTIONS if read.headers[task].config[section]] + list(
        keys(read, task)
    ):
        table = read.header(task).config[section]
        for key in path:
            table = table[key]
        for key in BESIDE if isinstance(table, dict) else ():
            said = read.header(task).config[section]
            put(said, (*path, key), "pathlib.Path")
            assert laid(read, task, section, said)[1], (section, path, key)


def test_what_belongs_to_the_run_is_left(read: Reader) -> None:
    header = read.header("detection")
    for key in OWNED:
        header.config[key] = "elsewhere"
    assert read(header) == read(read.header("detection"))


@pytest.mark.parametrize("key", OWNED)
def test_what_belongs_to_the_run_is_not_chosen(key: str) -> None:
    for word in (key, f"+{key}", f"++{key}", f"~{key}", f"{key}@x", f"{key}.x", f"hydra.{key}", f"task@{key}"):
        with pytest.raises(InputError, match=r"its header chooses .*, which no file may"):
            check_choices("checkpoint=m.safetensors", {word: "elsewhere"}, GROUPS)


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize(
    "option",
    [
        "coco data.root=x",
        "coco,voc",
        "glob(*)",
        "${oc.env:HOME}",
        "../x",
        "a/b",
        "{_target_: x}",
        "'coco'",
        "x\n",
        "",
        "{}",
        1,
        ["coco"],
    ],
    ids=repr,
)
def test_an_option_is_a_known_name(read: Reader, group: str, option: Any) -> None:
    header = read.header("detection")
    header.choices[group] = option
    with pytest.raises(InputError) as caught:
        read(header)
    assert "\n" not in str(caught.value)


def test_an_option_that_is_not_ours(read: Reader) -> None:
    header = read.header("detection")
    header.choices["head"] = "centre"
    with pytest.raises(InputError, match=r"was made with head=centre, which is not known here; .* --config-dir=FOLDER"):
        read(header)


@pytest.mark.parametrize(
    "key",
    ["heads@heads.objects", "heads@heads.x y", "heads@heads.a.b", "data@data.parts.${x}", "head@heads.objects.head"],
)
def test_a_head_of_an_option_that_is_not_ours(read: Reader, key: str) -> None:
    header = read.header("multitask")
    header.choices[key] = "stranger"
    with pytest.raises(InputError, match=r"its header (is damaged: of heads\.objects|chooses .*, which no file may)"):
        read(header)


def test_a_head_that_ran_somebody_else_s_code(read: Reader) -> None:
    header = read.header("multitask")
    header.choices["heads@heads.objects"] = "any"
    header.config["heads"]["objects"]["head"] = ATTACK
    with pytest.raises(
        InputError, match=r"heads\.objects\.head may be somebody else's code.* \+heads@heads\.objects=any"
    ):
        read(header)


def test_a_folder_is_the_command_s(read: Reader) -> None:
    header = read.header("detection")
    header.choices["data"], header.config["data"] = "coco", {"root": "/", "download": True}
    with pytest.raises(InputError, match=r"was made with data=coco in a folder.*; say data\.root=FOLDER"):
        read(header)
    header.config["data"] = {"root": None, "train_split": "../../etc"}
    with pytest.raises(InputError, match=r"data\.train_split=\.\./\.\./etc, which leaves the data's folder"):
        read(header)
    header.choices["data"] = "mixed"
    header.choices["data@data.parts.boxes"] = "coco"
    header.config["data"] = {"parts": {"boxes": {"root": "/"}}}
    with pytest.raises(
        InputError, match=r"say data=mixed \+data@data\.parts\.boxes=coco data\.parts\.boxes\.root=FOLDER"
    ):
        read(header)


def test_an_exported_file_says_no_more(read: Reader) -> None:
    header = read.header("detection")
    size = header.config["transform"]["image_size"]
    file = ArtifactHeader(
        runtime="onnx", precision="fp32", size=size, padding=[128] * 3, heads={}, labels={}, config=header.config,
        choices=header.choices, provenance={},
    )  # fmt: skip
    assert read(file)["trainer"]["accelerator"] == "cpu"
    file.choices["+logger._target_"] = "os.system"
    with pytest.raises(InputError, match=r"its header chooses .*, which no file may"):
        read(file)


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["${oc.env:HOME}", "???", "_target_"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.just("_target_"), inner, max_size=3),
    max_leaves=8,
)


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_whatever_a_header_says(read: Reader, data: st.DataObject) -> None:
    task = data.draw(st.sampled_from(TASKS))
    section, path = data.draw(st.sampled_from(list(keys(read, task))))
    said = read.header(task).config[section]
    put(said, path, data.draw(PLAIN))
    found, refusal = laid(read, task, section, said)
    assert "\n" not in refusal
    assert refusal or '"_target_":' not in json.dumps(found)
    choices = data.draw(st.dictionaries(st.sampled_from([*GROUPS, "+logger._target_"]) | st.text(), PLAIN, max_size=3))
    with contextlib.suppress(InputError):
        check_choices("checkpoint=m.safetensors", choices, GROUPS)
        assert all(key in GROUPS or re.fullmatch(r"[\w.@]+", key) for key in choices)
        assert all(option is None or re.fullmatch(r"\w+", option) for option in choices.values())
