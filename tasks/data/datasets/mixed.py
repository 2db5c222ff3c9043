"""Several data sets, mixed in a ratio.

An epoch: every batch holds a fixed number of images of every part, by `data.ratio`. The part that needs most batches to
be seen whole defines the epoch: each of its images comes once, in a new order every epoch, and some of them a second
time where they do not fill the last batch. The other parts go on from epoch to epoch: they are repeated pass after
pass, each in a new order, and never start over before a pass is through. So all batches are alike and full.

Everything follows from the seed and the epoch: the number of workers does not matter, and several ranks share every
part of the epoch without overlap.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tasks.data.checks import check_index

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from tasks.data.sample import Sample
    from tasks.data.splits import VisionData


class MixedData:
    """Images of several splits, one split after the other.

    Args:
        parts: by name.
        heads: names of the heads that each part has labels for.
    """

    def __init__(self, parts: Mapping[str, VisionData], heads: Mapping[str, Collection[str]]) -> None:
        self.parts = dict(parts)
        self._known = [frozenset(heads[name]) for name in parts]
        self._splits = list(parts.values())
        self._ends = np.cumsum([len(split) for split in self._splits])

    @property
    def sizes(self) -> dict[str, int]:
        """Images of every part."""
        return {name: len(split) for name, split in self.parts.items()}

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Sample:
        part, place = self._find(index)
        return replace(self._splits[part][place], known=self._known[part])

    def path(self, index: int) -> Path:
        """Path of the image file."""
        part, place = self._find(index)
        return self._splits[part].path(place)

    def _find(self, index: int) -> tuple[int, int]:
        check_index(index, len(self))
        part = int(np.searchsorted(self._ends, index, side="right"))
        return part, index - int(self._ends[part] - len(self._splits[part]))
