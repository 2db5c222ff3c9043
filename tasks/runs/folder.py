"""Where everything of a run goes."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbone.disk import write_whole
from backbone.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path("runs")
PROBE = ".writable"
CONFIG = "config.yaml"
METRICS = "metrics.json"
DIVISION = "split.json"
"""Which images are for training and which for validation, where data.split says so."""
MAX_BYTES = 1_000_000
"""Largest size of a configuration; ours have some thousand."""


def choose(run_dir: str | None, task: str, *, training: bool = False) -> Path:
    """The folder of a run, `runs/<task>/<time>` if none is named. It is not made yet.

    Args:
        training: may go on in a folder that is there: `tasks.training.resume.claim` looks at it.
    Raises:
        InputError: the folder holds something already.
    """
    folder = Path(run_dir) if run_dir else ROOT / task / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    if not training and folder.exists() and not (folder.is_dir() and {p.name for p in folder.iterdir()} <= {DIVISION}):
        raise InputError(f"run_dir={folder}: is not empty; name another folder")
    return folder


def make(folder: Path) -> None:
    """Make the folder, and see that it can be written.

    Raises:
        InputError: it cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / PROBE
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"run_dir={folder}: cannot be written ({error.strerror}); name another folder") from error


def write_metrics(folder: Path, metrics: Mapping[str, Mapping[str, float | None]]) -> None:
    """`metrics.json`: {split: {name: value}}."""
    write_whole(folder / METRICS, json.dumps(metrics, indent=2))


def write_profile(folder: Path, profile: Mapping[str, Any]) -> None:
    """`profile.json`: what mode=profile found."""
    write_whole(folder / "profile.json", json.dumps(profile, indent=2))


def write_time(folder: Path, time: Mapping[str, Any]) -> None:
    """`time.json`: where the time of a training went."""
    write_whole(folder / "time.json", json.dumps(time, indent=2))


def write_inspection(folder: Path, found: Mapping[str, Any]) -> None:
    """`inspect.json`: what mode=inspect found."""
    write_whole(folder / "inspect.json", json.dumps(found, indent=2))


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """`config.yaml`: the whole configuration, resolved."""
    from omegaconf import OmegaConf

    write_whole(folder / CONFIG, OmegaConf.to_yaml(OmegaConf.create(config)), durable=True)


def read_config(folder: Path) -> dict[str, Any] | None:
    """What `write_config` wrote; None if there is nothing, or it is damaged."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import SafeLoader, YAMLError, load
    from yaml.events import AliasEvent

    class Loader(SafeLoader):  # type: ignore[misc]
        """Without references, of which we write none, and which can make gigabytes of a kilobyte."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(AliasEvent):
                raise YAMLError("a reference")
            return super().compose_node(parent, index)

    try:
        with (folder / CONFIG).open("rb") as file:
            text = file.read(MAX_BYTES + 1)
        plain = None if len(text) > MAX_BYTES else load(text, Loader)
        config = OmegaConf.to_container(OmegaConf.create(plain)) if isinstance(plain, dict) else None
    except (OSError, ValueError, TypeError, YAMLError, OmegaConfBaseException, RecursionError):
        return None
    return {str(key): value for key, value in config.items()} if isinstance(config, dict) and config else None
