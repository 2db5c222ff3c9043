"""The documentation: its commands are right, what it points at is there, and the page of keys has them all."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from conf.keys import keys
from conf.schema import literal_words, register
from docs.hooks import PLACE, line_of, page
from tasks.config.run import RunConfig

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(trident [^`\n]+)`")


def commands() -> list[str]:
    """Every command of Trident's that the documentation shows, without its comment."""
    found = []
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        lines = INLINE.findall(text)
        for language, block in FENCE.findall(text):
            lines += [] if language else block.splitlines()
        for line in lines:
            command = line.split("  #")[0].strip()
            if re.match(r"(torchrun .* -m tasks\.run|uv run .* -m tasks\.run|(PYTHONPATH=\S+ )?trident) ", command):
                found.append(f"{path.name}: {command}")
    return found


@pytest.mark.parametrize("told", sorted(set(commands())))
def test_every_command_is_a_right_configuration(told: str) -> None:
    """It composes and passes the checks that need no data; `e2e/test_docs_commands.py` runs it."""
    words = shlex.split(told.partition(": ")[2])
    words = words[words.index("tasks.run") + 1 :] if "tasks.run" in words else words[1:]
    if "--help" in words:
        assert {key.name.partition(".")[0] for key in keys()} >= {word.partition(".")[0] for word in words[1:]}
        return
    words = [word for word in words if not word.startswith("-")]
    if "head=centre" in words:
        pytest.skip("tests/e2e/test_examples.py runs it")
    register()
    GlobalHydra.instance().clear()
    is_sweep = any("," in word and "[" not in word and "{" not in word for word in words)
    words = [word.split(",")[0] if is_sweep else word for word in words]
    with hydra.initialize_config_module("conf", version_base="1.3"):
        composed = hydra.compose("config", overrides=literal_words(words))
    assert isinstance(OmegaConf.to_object(composed), RunConfig)


def test_places_in_the_code_are_there() -> None:
    places = [found.groups() for path in PAGES for found in PLACE.finditer(path.read_text(encoding="utf-8"))]
    assert len(places) > 20
    for file, name in places:
        line = (ROOT / file).read_text(encoding="utf-8").splitlines()[line_of(file, name) - 1]
        assert name in line
    with pytest.raises(LookupError, match="defines no Nothing"):
        line_of("backbone/blocks.py", "Nothing")


def test_the_page_of_keys_has_all() -> None:
    text = page()
    for key in keys():
        assert f"**`{key.name}`**" in text


def test_files_that_pages_show_are_there() -> None:
    """A marker that is not exactly so is printed as it is."""
    found = [line for path in PAGES for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("--8")]
    assert len(found) >= 3
    for line in found:
        shown = re.fullmatch(r'--8<-- "(\S+)"', line)
        assert shown, line
        assert (ROOT / shown[1]).is_file()


def test_links_between_pages_lead_somewhere() -> None:
    made = {"keys.md"}
    for path in PAGES:
        for link in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
            if not link.startswith("http"):
                assert (path.parent / link).exists() or link in made, f"{path.name}: {link}"
