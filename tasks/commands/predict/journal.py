"""`journal.jsonl`: what was done so far, one line for each image, written when all its files are there.

The first line says what it was made by. A run that finds a journal of the same making goes on where that ends; the
files for machines are made from it at the end, so an interrupted run leaves whole ones too. Later lines about a
image go before earlier ones.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from backbone.disk import writing
from backbone.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FILE = "journal.jsonl"
FORMAT = "trident-predict-1"
DETECTIONS, CLASSES, MASK = "detections", "classes", "mask"
"""Ways of answering."""


@dataclass(slots=True, kw_only=True)
class Entry:
    """What became of one image or frame.

    Attributes:
        file: what the source calls it.
        image_id: 1, 2, ... in the order of the first answers; 0 where there is none.
        name: of its files, without a suffix; empty where it has none.
        frame: of a video, from 0; None for an image.
        stamp: size and time of the file, by which a changed one is known; None where it has none.
        size: height and width in pixels.
        answers: by the head's name: {"detections": COCO results}, {"classes": [[name, probability], ...]} or
            {"mask": file}.
        error: why there is no answer; empty where there is one.
    """

    file: str
    image_id: int = 0
    name: str = ""
    frame: int | None = None
    stamp: list[int] | None = None
    size: list[int] = field(default_factory=list)
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    error: str = ""


def _checked(entry: Entry) -> Entry:
    """An entry such as `Journal.add` writes.

    Raises:
        ValueError: a part is of another kind; it names the part.
    """
    fits = {
        "file": isinstance(entry.file, str),
        "image_id": _is_count(entry.image_id),
        "name": isinstance(entry.name, str) and _is_inside(entry.name),
        "frame": entry.frame is None or _is_count(entry.frame),
        "stamp": entry.stamp is None
        or (isinstance(entry.stamp, list) and all(type(one) is int for one in entry.stamp)),
        "size": isinstance(entry.size, list) and len(entry.size) in (0, 2) and all(map(_is_count, entry.size)),
        "error": isinstance(entry.error, str),
        "answers": isinstance(entry.answers, dict) and all(map(_is_answer, entry.answers.values())),
    }
    wrong = [name for name, fit in fits.items() if not fit]
    if not wrong and not entry.error and not entry.size:
        wrong = ["size"]
    if wrong:
        raise ValueError(f"{wrong[0]} is not what is written there")
    return entry


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_inside(name: str) -> bool:
    """Whether files of that name lie in their folder."""
    path = PurePosixPath(name)
    return not (
        path.is_absolute() or PureWindowsPath(name).drive or ".." in name.replace("\\", "/").split("/") or "\0" in name
    )


def _is_answer(answer: Any) -> bool:
    """Whether it is one of the ways to answer, and holds what belongs there."""
    if not isinstance(answer, dict) or len(answer) != 1:
        return False
    ((way, found),) = answer.items()
    if way == MASK:
        return isinstance(found, str)
    if way == CLASSES:
        return isinstance(found, list) and all(_is_share(one) for one in found)
    return way == DETECTIONS and isinstance(found, list) and all(isinstance(one, dict) for one in found)


def _is_share(pair: Any) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) and type(pair[1]) in (int, float)


def is_begun(folder: Path) -> bool:
    """Whether there is a journal in a folder to go on with."""
    return (folder / FILE).is_file()


class Journal:
    """Entries in a file, added at its end.

    Args:
        path: of the file; it is begun, or gone on with if it is there.
        made_by: model, source and options by name, as plain values.
    Raises:
        InputError: it was made by others (the first is named), is damaged, or cannot be written.
    """

    def __init__(self, path: Path, made_by: Mapping[str, Any]) -> None:
        self.path = path
        self._places: dict[tuple[str, int | None], int] = {}
        self._ways: dict[str, str] | None = None
        self._last_id = 0
        self.resumed = path.is_file()
        with writing(path):
            self._file = path.open("r+b" if self.resumed else "w+b")
        try:
            if self.resumed:
                self._read(json.loads(json.dumps(made_by)))
            if self._file.tell() == 0:
                self._append({"format": FORMAT, "made_by": made_by})
        except BaseException:
            self._file.close()
            raise

    def _read(self, made_by: Mapping[str, Any]) -> None:
        """Learn what is there; a last line that was not finished is removed."""
        end = 0
        for number, line in enumerate(self._file, 1):
            if not line.endswith(b"\n"):
                break
            try:
                content = json.loads(line)
                if number == 1:
                    self._compare(content, made_by)
                else:
                    self._learn(_checked(Entry(**content)), end)
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                if isinstance(error, InputError):
                    raise
                raise InputError(
                    f"{self.path}: line {number} is damaged ({error}); name another run_dir, or remove that line"
                ) from None
            end += len(line)
        self._file.seek(end)
        self._file.truncate()

    def _compare(self, first: Mapping[str, Any], made_by: Mapping[str, Any]) -> None:
        if first["format"] != FORMAT:
            raise InputError(f"{self.path}: has format {first['format']}; this version goes on with {FORMAT} only")
        before = first["made_by"]
        for name in sorted({*before, *made_by}):
            if before.get(name) != made_by.get(name):
                raise InputError(
                    f"run_dir={self.path.parent}: was begun with {name}={before.get(name)}, and now it is"
                    f" {made_by.get(name)}; name another folder, or go on with the same"
                )

    def _learn(self, entry: Entry, place: int) -> None:
        if not entry.error:
            ways = {head: next(iter(answer)) for head, answer in entry.answers.items()}
            self._ways = ways if self._ways is None else self._ways
            if ways != self._ways:
                raise ValueError(f"answers of {', '.join(ways)} among those of {', '.join(self._ways)}")
        self._places[entry.file, entry.frame] = place
        self._last_id = max(self._last_id, entry.image_id)

    def _append(self, content: Mapping[str, Any]) -> None:
        line = json.dumps(content, ensure_ascii=False).encode(errors="backslashreplace") + b"\n"
        with writing(self.path):
            self._file.seek(0, 2)
            self._file.write(line)
            self._file.flush()

    def add(self, entry: Entry) -> None:
        """Write an entry, at once."""
        with writing(self.path):
            place = self._file.seek(0, 2)
        self._append(asdict(entry))
        self._learn(entry, place)

    def new_id(self) -> int:
        """For an image without an answer so far."""
        self._last_id += 1
        return self._last_id

    def __iter__(self) -> Iterator[Entry]:
        """The latest entry of every image, in the order of the first ones."""
        for place in self._places.values():
            self._file.seek(place)
            yield Entry(**json.loads(self._file.readline()))

    def close(self) -> None:
        self._file.close()
