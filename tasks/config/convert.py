"""What mode=convert writes. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from backbone.errors import InputError


class TargetFormat(Enum):
    """A format that data sets are written in."""

    coco = "coco"
    yolo = "yolo"


@dataclass(kw_only=True, slots=True)
class ConvertConfig:
    """Where a data set goes, and how it is written."""

    format: TargetFormat = TargetFormat.coco
    """coco keeps boxes, crowds, outlines and masks; yolo boxes, or outlines without holes, and no crowds."""
    output: str | None = None
    """Folder that is made; one that holds something is refused."""

    def check(self) -> None:
        """See that a folder is named; an InputError otherwise."""
        if self.output is None:
            raise InputError("mode=convert: give convert.output=FOLDER for the data set that is written")
