"""The files for machines, from the journal: COCO's results, a table of classes, and a list of what failed.

| file | |
|---|---|
| `images.json` | COCO's `images` and `categories`: id, file name, width, height; no annotations |
| `detections.json` | COCO's results of all of a model's detections |
| `classes.csv` | file, rank, class, probability |
| `masks/NAME.png` | written with each image; `masks.csv` says whose each is |
| `failed.csv` | file, reason |

Where several heads answer in one way, the name of the head is added: `detections_NAME.json`.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from backbone.disk import whole_file
from backbone.errors import InputError
from tasks.commands.predict.journal import CLASSES, DETECTIONS, MASK
from tasks.runs.tables import write_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import TextIO

    from tasks.commands.predict.journal import Entry
    from tasks.data.labels import LabelMap


def suffixes(kinds: Mapping[str, str]) -> dict[str, str]:
    """What is added to names of files for each head, from each head's way of answering."""
    ways = list(kinds.values())
    return {head: f"_{head}" if ways.count(kind) > 1 else "" for head, kind in kinds.items()}


def write_results(
    entries: Callable[[], Iterable[Entry]],
    folder: Path,
    labels: Mapping[str, LabelMap],
    failures: Sequence[Entry] = (),
) -> None:
    """Write all files, each whole or not at all; of images only as many are in memory as there are open files.

    Args:
        entries: gives all of them, as often as asked.
        labels: by head.
        failures: images of the source that have no answer.
    Raises:
        InputError: an entry is of a head that the model has not, or a file cannot be written.
    """
    kinds = next(({head: next(iter(found)) for head, found in e.answers.items()} for e in entries() if e.answers), {})
    strange = [head for head in kinds if head not in labels]
    if strange:
        raise InputError(
            f"{folder}: its journal has answers of head {strange[0]}, which the model has not; name another run_dir"
        )
    parts = suffixes(kinds)
    detecting = [head for head, kind in kinds.items() if kind == DETECTIONS]
    for suffix, categories in {parts[head]: _categories(labels[head]) for head in detecting}.items() or [("", [])]:
        images = ({"id": entry.image_id, "file_name": entry.file} | _place(entry) for entry in _answered(entries()))
        with _file(folder / f"images{suffix}.json") as file:
            file.write('{"images": ')
            _write_list(file, images)
            file.write(f', "annotations": [], "categories": {json.dumps(categories, ensure_ascii=False)}}}\n')
    for head, kind in kinds.items():
        if kind == DETECTIONS:
            found = (row for entry in _answered(entries()) for row in entry.answers[head][DETECTIONS])
            with _file(folder / f"detections{parts[head]}.json") as file:
                _write_list(file, found)
        elif kind == CLASSES:
            write_table(
                folder / f"classes{parts[head]}.csv",
                ["file", "rank", "class", "probability"],
                (
                    [_called(entry), rank, name, f"{share:.6f}"]
                    for entry in _answered(entries())
                    for rank, (name, share) in enumerate(entry.answers[head][CLASSES], 1)
                ),
            )
        else:
            rows = ([_called(entry), entry.answers[head][MASK]] for entry in _answered(entries()))
            write_table(folder / f"masks{parts[head]}.csv", ["file", "mask"], rows)
    if failures:
        write_table(folder / "failed.csv", ["file", "reason"], ([entry.file, entry.error] for entry in failures))
    else:
        (folder / "failed.csv").unlink(missing_ok=True)


def _answered(entries: Iterable[Entry]) -> Iterator[Entry]:
    return (entry for entry in entries if not entry.error)


def _place(entry: Entry) -> dict[str, Any]:
    frame = {} if entry.frame is None else {"frame": entry.frame}
    return {"height": entry.size[0], "width": entry.size[1]} | frame


def _called(entry: Entry) -> str:
    return entry.file if entry.frame is None else f"{entry.file}#{entry.frame}"


def _categories(labels: LabelMap) -> list[dict[str, Any]]:
    return [{"id": number, "name": name} for number, name in zip(labels.ids, labels.names, strict=True)]


def _write_list(file: TextIO, rows: Iterable[Mapping[str, Any]]) -> None:
    """A JSON list, one row on a line."""
    before = "["
    for row in rows:
        file.write(f"{before}\n{json.dumps(row, ensure_ascii=False)}")
        before = ","
    file.write("\n]" if before == "," else "[]")


@contextmanager
def _file(path: Path) -> Iterator[TextIO]:
    with whole_file(path) as part, part.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        yield file
