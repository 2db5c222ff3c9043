"""Who may train in a run folder, and what a training that is there already was told. Imports nothing heavy at once."""

from __future__ import annotations

import json
import logging
from contextlib import contextmanager
from enum import Enum
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from backbone.disk import write_whole
from backbone.errors import InputError
from tasks.config.renamed import renamed
from tasks.runs import folder as run_folder
from tasks.runs.lock import LOCK

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tasks.config.run import Command

log = logging.getLogger(__name__)

FORMAT = 1
NOTE = "run.json"
CHECKPOINTS = "checkpoints/step_*.ckpt"
"""What shows that a training began, though its note is gone."""
EMPTY = {LOCK, run_folder.PROBE, run_folder.DIVISION}
"""What a process may leave that ended before it could do anything."""
FREE = (
    "run_dir", "trainer.checkpoint_every", "trainer.progress_bar", "trainer.synchronise", "trainer.timeout",
    "data.workers", "data.timeout", "evaluation.drawn_images", "evaluation.drawn_score", "evaluation.beside", "logger",
    "predict", "demo", "profile", "inspect", "export", "pack", "convert", "sweep",
)  # fmt: skip
"""Keys that do not change what a training comes to: they may differ when it goes on."""
LENGTH = ("trainer.max_steps", "trainer.max_epochs", "data.epochs")
"""Keys that say how long a training is: in its folder they may grow."""
DECIDED = (
    "backbone.weights", "backbone.padding", "backbone.dilate_first", "backbone.bn_eps", "backbone.input_mean",
    "backbone.input_std", "data.batch_size",
)  # fmt: skip
"""Keys of `config.yaml` that weights or a trial filled in: there they differ from the command's."""


class Stage(Enum):
    """How far a training in a folder is."""

    new = "new"
    begun = "begun"
    finished = "finished"


class RunLock:
    """A run folder for one training.

    Args:
        folder: is not made yet, if there is none.
        command: that wants it.

    Attributes:
        stage: of the training that is there; one that is to be longer than it was is not finished.
        is_longer: whether the command says another length than the training there has.

    Raises:
        InputError: the folder holds something else, a training with another configuration (the message names the keys
            that differ), or one that does not tell its configuration any more.
    """

    def __init__(self, folder: Path, command: Command) -> None:
        self.folder = folder
        self.stage = Stage.new
        self.is_longer = False
        self._command = command
        if not (folder / NOTE).exists() and not any(folder.glob(CHECKPOINTS)):
            if folder.exists() and not (folder.is_dir() and {path.name for path in folder.iterdir()} <= EMPTY):
                raise InputError(f"run_dir={folder}: is not empty, and no training begun there; name another folder")
            return
        note = _read_note(folder)
        free = FREE if note else (*FREE, *DECIDED)
        note = note or _mended_note(folder)
        if note["format"] != FORMAT:
            raise InputError(
                f"{folder / NOTE}: has format {note['format']}, this version reads {FORMAT}; go on with the version"
                " that began this training, or name another run_dir"
            )
        self.stage = Stage.finished if note["finished"] else Stage.begun
        before = with_new_keys(note["config"], command)
        if changed := differences(before, command.written, (*free, *LENGTH)) + shorter(before, command.written):
            raise InputError(
                f"run_dir={folder}: holds a training with another configuration: {', '.join(changed)}; to go on, say"
                " the same as then, or more steps or epochs; for a new training, name another folder"
            )
        if differences(before, command.written, free):
            self.is_longer = True
            self.stage = Stage.begun

    @property
    def is_finished(self) -> bool:
        """Whether the training there is done."""
        return self.stage is Stage.finished

    @contextmanager
    def held(self) -> Iterator[None]:
        """While this lasts nobody else trains in the folder, which is there from now on. A killed process has no hold.

        Raises:
            InputError: another process trains there, or the folder cannot be written.
        """
        lock = FileLock(self.folder / LOCK)

        def take() -> None:
            run_folder.make(self.folder)
            try:
                lock.acquire(blocking=False)
            except Timeout as error:
                raise InputError(
                    f"run_dir={self.folder}: another process is training there; wait for its end or name another folder"
                ) from error

        from tasks.distributed.group import broadcast

        broadcast(take)
        try:
            yield
        finally:
            lock.release()

    def note(self, *, finished: bool) -> None:
        """`run.json`: which configuration trains here, and whether it is done."""
        content = {
            "format": FORMAT,
            "finished": finished,
            "command": self._command.overrides,
            "config": self._command.written,
        }
        write_whole(self.folder / NOTE, json.dumps(content, indent=2), durable=True)

    def show(self) -> None:
        """One line, and the figures, of a training that is finished."""
        log.info("%s: this training is finished; nothing is done again", self.folder)
        try:
            metrics = json.loads((self.folder / "metrics.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        for split, figures in metrics.items():
            shown = [f"{name} {value:.4g}" for name, value in figures.items() if value is not None and "/" not in name]
            log.info("%s: %s", split, "  ".join(shown))


def differences(before: Mapping[str, Any], now: Mapping[str, Any], free: Sequence[str] = FREE) -> list[str]:
    """Keys whose values differ, and both values; those of `free`, and below them, may."""
    old, new = _flat(before), _flat(now)
    return [
        f"{key} {_word(old, key)} -> {_word(new, key)}"
        for key in dict.fromkeys([*old, *new])
        if old.get(key, ...) != new.get(key, ...)
        and not any(f"{key}.".startswith(f"{key_or_section}.") for key_or_section in free)
    ]


def shorter(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Keys of `LENGTH` that say less than before, and both values."""
    old, new = _flat(before), _flat(now)
    return [
        f"{key} {old[key]} -> {new[key]}"
        for key in LENGTH
        if isinstance(old.get(key), int) and isinstance(new.get(key), int) and new[key] < old[key]
    ]


def with_new_keys(noted: Mapping[str, Any], command: Command) -> dict[str, Any]:
    """The configuration of a training that an earlier version may have begun, with the keys of this one.

    Keys that it did not know have their default, which is what it did, unless the command names them.
    """
    said = {word.partition("=")[0].lstrip("+~") for word in command.overrides}

    def completed(old: Mapping[str, Any], now: Mapping[str, Any], where: str) -> dict[str, Any]:
        found = dict(old)
        for key, value in now.items():
            full = f"{where}{key}"
            if key not in old and full not in said:
                found[key] = value
            elif isinstance(value, dict) and isinstance(old.get(key), dict):
                found[key] = completed(old[key], value, f"{full}.")
        return found

    return completed(renamed(noted), command.written, "")


def unfinished(runs: Path, command: Command) -> Path | None:
    """The newest folder in `runs`, if it holds a training of this configuration that nobody goes on with."""
    folders = sorted(path for path in runs.iterdir() if path.is_dir()) if runs.is_dir() else []
    if not folders:
        return None
    note = _read_note(folders[-1])
    if (
        note is None
        or note["format"] != FORMAT
        or note["finished"]
        or differences(with_new_keys(note["config"], command), command.written)
    ):
        return None
    lock = FileLock(folders[-1] / LOCK)
    try:
        with lock.acquire(blocking=False):
            return folders[-1]
    except (Timeout, OSError):
        return None


def suggest(runs: Path, command: Command) -> None:
    """One line on how to go on with the newest run, if it stopped before its end and this is the same again."""
    folder = unfinished(runs, command)
    if folder is not None:
        words = " ".join([*command.overrides, f"run_dir={folder}"])
        log.info("%s stopped before its end; to go on with it: python -m tasks.run %s", folder, words)


def _read_note(folder: Path) -> dict[str, Any] | None:
    """What `RunLock.note` wrote; None if there is nothing, or it is damaged."""
    try:
        note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    types = {"format": int, "finished": bool, "config": dict}
    whole = isinstance(note, dict) and all(isinstance(note.get(key), kind) for key, kind in types.items())
    return note if whole else None


def _mended_note(folder: Path) -> dict[str, Any]:
    """What can be told of a training whose `run.json` a loss of power spoiled: its configuration, from `config.yaml`.

    It counts as begun: one that was finished is evaluated again, from its last checkpoint.

    Raises:
        InputError: `config.yaml` is spoiled too.
    """
    config = run_folder.read_config(folder)
    if config is None:
        raise InputError(
            f"{folder / NOTE}: is damaged or gone, and config.yaml does not tell the configuration of this training"
            " either; put one of them back from a backup, or train in another run_dir"
        )
    log.warning("%s: is damaged or gone; what this training was told is taken from config.yaml", folder / NOTE)
    return {"format": FORMAT, "finished": False, "config": config}


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(node, dict) or not node:
        return {prefix.rstrip("."): node}
    return {key: value for name, part in node.items() for key, value in _flat(part, f"{prefix}{name}.").items()}


def _word(values: Mapping[str, Any], key: str) -> str:
    return json.dumps(values[key]) if key in values else "nothing"
