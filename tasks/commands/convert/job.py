"""mode=convert: a data set as COCO or YOLO has it, images byte for byte, in a folder that is there whole or not at all.

Everything is written beside the folder, in one that ends in `.part`, and gets its name at the end. The same words go on
where an earlier attempt stopped.
"""

from __future__ import annotations

import hashlib
import json
import logging
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from backbone.disk import check_space, whole_file, write_whole, writing
from backbone.errors import InputError
from tasks.commands.convert.annotations import Losses, coco, described, yolo
from tasks.config.convert import TargetFormat
from tasks.config.run import Task
from tasks.data.files.download import transfer_bar
from tasks.data.files.encoded import EncodedImage
from tasks.data.files.images import read_bytes
from tasks.data.files.sources import Names
from tasks.data.splits import DataSplits
from tasks.runs import folder as run_folder
from tasks.runs.lock import LOCK, held

if TYPE_CHECKING:
    from collections.abc import Callable

    from tasks.commands.convert.annotations import Described
    from tasks.commands.job import Job
    from tasks.config.convert import ConvertConfig

log = logging.getLogger(__name__)

KINDS = (Task.detection, Task.segmentation)
NOTE = ".convert.json"


def convert(job: Job, section: ConvertConfig) -> None:
    """Write every split of the data.

    Raises:
        InputError: this data has no boxes or masks, the folder holds something, or it cannot be written.
    """
    if job.builder.task not in KINDS:
        raise InputError(f"mode=convert task={job.builder.task.value}: writes boxes or masks: say task=detection or"
                         " task=segmentation")  # fmt: skip
    output, part = Path(str(section.output)), job.folder
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise InputError(f"convert.output={output}: is not empty, and nothing is overwritten; name another folder")
    splits = job.builder.splits()
    assert isinstance(splits, DataSplits)  # one kind of head has no other
    run_folder.make(part)
    with held(part, f"convert.output={output}: another process writes it; wait for its end"):
        _write(splits, part, section.format)
    for name in (NOTE, LOCK):
        (part / name).unlink(missing_ok=True)
    with writing(output):
        if output.exists():
            output.rmdir()
        part.rename(output)
    log.info("everything is in %s; read it with data=%s data.root=%s", output, section.format.value, output)


def _write(splits: DataSplits, part: Path, target: TargetFormat) -> None:
    parts = [
        _Split(name, data, part, target)
        for name, data in (("train", splits.train), ("val", splits.val), ("test", splits.test))
        if data is not None and len(data)
    ]
    _claim(part, target, parts)
    check_space(part, sum(one.size_bytes for one in parts))
    losses = Losses()
    with transfer_bar(None) as bar:
        for one in parts:
            one.copy(partial(bar.advance, bar.add_task(one.name, total=one.size_bytes)))
    for one in parts:
        one.annotate(losses)
    if target is TargetFormat.yolo:
        names = list(parts[0].found.names.values())
        lines = [f"{one.name}: images/{one.name}\n" for one in parts]
        lines += ["names:\n", *(f"  {n}: {json.dumps(name, ensure_ascii=False)}\n" for n, name in enumerate(names))]
        write_whole(part / "data.yaml", "".join(lines))
        for text in losses.in_words():
            log.warning("yolo: %s", text)


def _claim(part: Path, target: TargetFormat, parts: list[_Split]) -> None:
    """See that what is there already is of the same conversion.

    Raises:
        InputError: it is not.
    """
    digest = hashlib.sha256(repr([(one.name, one.files, one.lengths) for one in parts]).encode(errors="replace"))
    note = json.dumps({"format": target.value, "data": digest.hexdigest()})
    file = part / NOTE
    if file.is_file() and file.read_text(encoding="utf-8", errors="replace") != note:
        raise InputError(f"{part}: holds the beginning of another conversion; remove it, or name another folder")
    write_whole(file, note)


class _Split:
    """The images of one split, each with a name of its own, and what is known of them."""

    def __init__(self, name: str, data: Any, part: Path, target: TargetFormat) -> None:
        self.name, self.data, self._target = name, data, target
        self._root, self._part = part, part / ("" if target is TargetFormat.coco else "images") / name
        names = Names()
        paths = [data.path(place) for place in range(len(data))]
        self.files = [f"{names.give(path.name)}{path.suffix}" for path in paths]
        self.lengths = [path.stat().st_size if path.is_file() else 0 for path in paths]
        self.found: Described = described(data)

    @property
    def size_bytes(self) -> int:
        return sum(self.lengths)

    def copy(self, advance: Callable[[int], object]) -> None:
        """Copy the images that are not there yet."""
        self._part.mkdir(parents=True, exist_ok=True)
        for place, file in enumerate(self.files):
            to = self._part / file
            if not to.is_file():
                contents = self._contents(place)
                with whole_file(to) as path:
                    path.write_bytes(contents)
            advance(self.lengths[place])

    def annotate(self, losses: Losses) -> None:
        """Write what is known of the images."""
        if self._target is TargetFormat.coco:
            (self._root / "annotations").mkdir(exist_ok=True)
            contents = coco(self.found, self.files)
            write_whole(
                self._root / "annotations" / f"instances_{self.name}.json", json.dumps(contents, ensure_ascii=False)
            )
            return
        folder = self._root / "labels" / self.name
        folder.mkdir(parents=True, exist_ok=True)
        for place, file in enumerate(self.files):
            stem = file.removesuffix(PurePosixPath(file).suffix)
            write_whole(folder / f"{stem}.txt", yolo(self.found, place, losses))

    def _contents(self, place: int) -> bytes:
        """Contents of an image file.

        Raises:
            InputError: it cannot be read, or YOLO's fractions would be of another image than the one annotated.
        """
        path = self.data.path(place)
        contents: bytes = self.data.contents(place) if hasattr(self.data, "contents") else read_bytes(path)
        if self._target is TargetFormat.yolo and EncodedImage(path, contents, None).size != self.found.sizes[place]:
            raise InputError(
                f"{path}: was annotated as it is stored, and YOLO takes images as EXIF turns them; turn the image, or"
                " say convert.format=coco"
            )
        return contents
