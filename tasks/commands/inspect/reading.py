"""Every image of a split is read once, at a fraction of its size, and forgotten: what stays is a few numbers of each.

Shapes: N images, H W pixels.
"""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from backbone.errors import InputError
from heads.structures import VOID
from tasks.commands.inspect.findings import Finding, Severity
from tasks.data.files.encoded import EncodedData, LookedAtData
from tasks.data.files.images import read_image
from tasks.data.fingerprint import THUMBNAIL, difference_hash, thumbnail

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence, Set

    from numpy.typing import NDArray

    from tasks.data.sample import Sample
    from tasks.data.splits import VisionData

LEAST_PX = 16
"""Pixels of the shorter side of an image that is looked at, at least."""
SMALL_PX = 8 * LEAST_PX
"""An image with a shorter side is looked at whole: an eighth of it would be too little to recognise."""
CHUNK = 64
"""Images that are under way at once."""


@dataclass(slots=True)
class Look:
    """What is kept of one image; `faults` are pairs of a kind and a line, and with one the rest says nothing."""

    size: tuple[int, int] = (0, 0)
    hash: int = 0
    thumbnail: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    crowds: int = 0
    pixels: NDArray[np.int64] | None = None
    faults: list[tuple[str, str]] = field(default_factory=list)


class Reading:
    """What was seen of a split.

    Attributes:
        positions: (N,) of the images that are looked at.
        done: how many of them were.
        good: (N,) bool, read without a fault.
        sizes: (N, 2) height and width in pixels.
        hashes: (N,) uint64, see `tasks.data.fingerprint`.
        thumbnails: (N, THUMBNAIL, THUMBNAIL, 3) uint8.
        crowds: crowd regions.
        pixels: (256,) pixels of each value of the masks.
        masks_with: (256,) masks in which each value occurs.
        has_masks: whether the split has masks.
        empty: names of masks that are void everywhere.
    """

    def __init__(self, data: VisionData, positions: Sequence[int]) -> None:
        count = len(positions)
        self.data = data
        self.positions = np.array(positions, dtype=np.int64)
        self.done = 0
        self.good = np.zeros(count, dtype=np.bool_)
        self.sizes = np.zeros((count, 2), dtype=np.int32)
        self.hashes = np.zeros(count, dtype=np.uint64)
        self.thumbnails = np.zeros((count, THUMBNAIL, THUMBNAIL, 3), dtype=np.uint8)
        self.crowds = 0
        self.pixels = np.zeros(VOID + 1, dtype=np.int64)
        self.masks_with = np.zeros(VOID + 1, dtype=np.int64)
        self.has_masks = False
        self.empty: list[str] = []
        self._faults: dict[str, list[tuple[str, str]]] = defaultdict(list)

    def read(self, missing: Set[str], threads: int, advance: Callable[[int], Any]) -> None:
        """Look at all images. What was seen is kept if it is interrupted.

        Args:
            missing: files that are known to be absent or must not be read, and are not reported again.
            threads: decoders side by side.
            advance: called with the number of images done since.
        """
        with ThreadPoolExecutor(threads) as pool:
            for start in range(0, len(self.positions), CHUNK):
                chunk = self.positions[start : start + CHUNK].tolist()
                looks = pool.map(lambda position: self._look(position, missing), chunk)
                for place, look in enumerate(looks, start=start):
                    self._keep(place, look)
                advance(len(chunk))

    def findings(self, split: str) -> list[Finding]:
        """Findings about what could not be read."""
        findings = []
        for kind, cases in self._faults.items():
            more = f" (and {len(cases) - 1} more)" if len(cases) > 1 else ""
            names = [name for name, _ in cases]
            findings.append(Finding(Severity.error, kind, f"{cases[0][1]}{more}", names, split))
        if self.empty:
            text = f"{self.empty[0]}: its mask is void everywhere, so nothing is learned from it; remove it or label it"
            findings.append(Finding(Severity.warning, "mask without a class", text, self.empty, split))
        return findings

    def _look(self, position: int, missing: Set[str]) -> Look | None:
        """None for an image whose absence, or that of its mask, was said already."""
        if missing and not missing.isdisjoint(_files(self.data, position)):
            return None
        try:
            sample = _sample(self.data, position)
        except InputError as error:
            return Look(faults=_causes(self.data, position, str(error)))
        grey = cv2.cvtColor(sample.image, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)
        pixels = None
        if sample.mask is not None:
            pixels = np.bincount(sample.mask.reshape(-1), minlength=VOID + 1)
        return Look(sample.size, difference_hash(grey), thumbnail(sample.image), int(sample.crowd.sum()), pixels)

    def _keep(self, place: int, look: Look | None) -> None:
        self.done = place + 1
        if look is None:
            return
        name = str(self.data.path(int(self.positions[place])))
        for kind, line in look.faults:
            self._faults[kind].append((name, line))
        if look.faults:
            return
        self.good[place] = True
        self.sizes[place] = look.size
        self.hashes[place] = look.hash
        self.thumbnails[place] = look.thumbnail
        self.crowds += look.crowds
        if look.pixels is not None:
            self.has_masks = True
            self.pixels += look.pixels
            self.masks_with += look.pixels > 0
            if look.pixels[VOID] == look.pixels.sum():
                self.empty.append(name)


def _files(data: Any, position: int) -> list[str]:
    """Paths of an image and of its mask, if that is a file."""
    paths = [data.path(position)]
    if hasattr(data, "mask_path"):
        paths.append(data.mask_path(position))
    return [str(path) for path in paths]


def _sample(data: VisionData, position: int) -> Sample:
    """The image, smaller where that is less work, with its annotations."""
    if isinstance(data, LookedAtData):
        sample = data.look(position)
        return data.look(position, shrink=1) if min(sample.size) < SMALL_PX else sample
    if isinstance(data, EncodedData):
        encoded = data.encoded(position)
        return encoded.with_pixels(encoded.image.decode(least=LEAST_PX))
    return data[position]


def _causes(data: VisionData, position: int, line: str) -> list[tuple[str, str]]:
    """Whether it is the image that cannot be read, or what belongs to it that does not fit, or both."""
    if isinstance(data, EncodedData):
        return [("unreadable image", line)]
    try:
        read_image(data.path(position), shrink=8)
    except InputError as error:
        unreadable = ("unreadable image", str(error))
        return [unreadable] if unreadable[1] == line else [unreadable, ("wrong mask or annotation", line)]
    return [("wrong mask or annotation", line)]
