"""A data set divided into training and validation, where nobody has: by a share, a seed, and what belongs together.

Images belong together whose files have one stem in one folder (`a.jpg` and `a.png`, or Roboflow's `a_jpg.rf.1f2e.jpg`
and `a_jpg.rf.77ab.jpg`, which are variations of one image), and those that look alike; a model would be tested on what
it was trained on otherwise. Of data with one class for an image every class is divided. The division is a readable
file, which is used again. Shapes: N images.
"""

from __future__ import annotations

import json
import logging
import os
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np

from backbone.disk import write_whole
from backbone.errors import InputError
from tasks.data.files.contents import MAX_NOTE_BYTES, parse_json, read_text
from tasks.data.files.images import read_image
from tasks.data.fingerprint import THUMBNAIL, difference_hash, same_images, thumbnail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tasks.data.config import SplitConfig
    from tasks.data.splits import DataSplits, VisionData

log = logging.getLogger(__name__)

ROBOFLOW = ".rf."
"""Before what Roboflow adds to the stem of each variation of an image."""
THREADS = 8
SHOWN = 5
"""Names of classes in a line."""
REMEDY = "remove the file to divide anew, or name another by data.split_file=FILE"


@dataclass(slots=True)
class DivisionFiles:
    """Where a division is looked for, the first place first, and where it is written if it is not there."""

    read: list[Path] = field(default_factory=list)
    write: Path | None = None

    def of_part(self, part: str) -> DivisionFiles:
        """The same for one of several data sets."""

        def own(path: Path) -> Path:
            return path.with_name(f"{path.stem}_{part}{path.suffix}")

        return DivisionFiles([own(path) for path in self.read], None if self.write is None else own(self.write))


class Divisible(Protocol):
    """A data set that can be divided."""

    def subset(self, positions: Sequence[int]) -> VisionData:
        """The images at these positions."""
        ...


def divide(splits: DataSplits, config: SplitConfig, root: str | Path, files: DivisionFiles) -> DataSplits:
    """The splits with train and val in place of the whole, which both of them are.

    Raises:
        InputError: all images belong together, or a file says another division.
    """
    whole: Any = splits.train
    names = [Path(os.path.relpath(whole.path(place), root)).as_posix() for place in range(len(whole))]
    own = [] if config.split_file is None else [Path(config.split_file)]
    write = own[0] if own else files.write
    found = next((path for path in [*own, *files.read] if path.is_file()), None)
    if found is not None:
        division = _read(found, config, root, names)
        log.info("data.split=%g: the division is that of %s", config.split, found)
    else:
        division = _made(whole, names, config, root)
    if write is not None and not write.is_file():
        write.parent.mkdir(parents=True, exist_ok=True)
        write_whole(write, json.dumps(division, indent=1, ensure_ascii=False))
    places = {name: place for place, name in enumerate(names)}
    train, val = ([places[name] for name in division[split]] for split in ("train", "val"))
    log.info("data.split=%g: %d images to train on and %d to validate", config.split, len(train), len(val))
    return replace(splits, train=whole.subset(train), val=whole.subset(val))


def _made(whole: Any, names: Sequence[str], config: SplitConfig, root: str | Path) -> dict[str, Any]:
    groups = _groups(whole, names)
    if len(groups) < 2:
        raise InputError(
            f"data.split={config.split:g}: {root} has {len(names)} images, which all belong together (by name"
            " or by what they show), so none can be taken for validation; add images"
        )
    share = config.split or 0.0
    here = _classes_in(whole)
    counts = np.stack([here[group].sum(axis=0) for group in groups])
    chosen = chosen_groups(counts, [len(group) for group in groups], share, config.split_seed)
    val = sorted(place for number in chosen for place in groups[number])
    taken = set(val)
    _say_missing(whole, here, val)
    together = [[names[place] for place in group] for group in groups if len(group) > 1]
    if together:
        log.info(
            "data.split=%g: %d images in %d groups stay together, such as %s",
            share, sum(map(len, together)), len(together), " and ".join(together[0][:2]),
        )  # fmt: skip
    return {
        "split": share,
        "seed": config.split_seed,
        "train": [name for place, name in enumerate(names) if place not in taken],
        "val": [names[place] for place in val],
        "together": together,
    }


def chosen_groups(counts: NDArray[np.int64], sizes: Sequence[int], share: float, seed: int) -> list[int]:
    """Positions of the groups that are taken for validation: one at least and not all.

    Iterative stratification (Sechidis et al., 2011, "On the stratification of multi-label data") of whole groups: the
    class with the fewest groups left is divided next, each of its groups goes to where more of the class is missing.
    A class of two groups or more is on both sides as long as the share of all images is not used up; one of a single
    group is for training.

    Args:
        counts: (G, K) images of each group with each class; two groups at least.
        sizes: images of each group.
        share: of the images, and of those with each class.
        seed: says in which order groups of one size are asked.
    """
    order = np.random.default_rng(seed).permutation(len(sizes))
    order = order[np.argsort(-np.asarray(sizes)[order], kind="stable")]
    parts = np.array([1 - share, share])  # training, validation
    wanted, room = np.outer(parts, counts.sum(axis=0)), parts * sum(sizes)
    has, left = np.zeros(wanted.shape, dtype=np.bool_), np.count_nonzero(counts, axis=0)
    side = np.full(len(sizes), -1)

    def put(group: int, where: int) -> None:
        side[group] = where
        wanted[where] -= counts[group]
        room[where] -= sizes[group]
        has[where] |= counts[group] > 0
        left[:] -= counts[group] > 0

    while left.any():
        rarest = int(np.where(left > 0, left, len(sizes) + 1).argmin())
        its_groups = [group for group in order.tolist() if side[group] < 0 and counts[group, rarest]]
        for group in its_groups:
            lacks = np.flatnonzero(~has[:, rarest])
            where = int(max((0, 1), key=lambda one: (wanted[one, rarest], room[one])))
            if group == its_groups[-1] and len(lacks):
                where = int(lacks[0]) if lacks[0] == 0 or room[1] > 0 else 0
            put(group, where)
    for group in order.tolist():
        if side[group] < 0:
            put(group, int(room.argmax()))
    for lacking in (0, 1):
        if not (side == lacking).any():
            side[min(order.tolist(), key=lambda group: sizes[group])] = lacking
    return sorted(np.flatnonzero(side == 1).tolist())


def _classes_in(whole: Any) -> NDArray[np.bool_]:
    """(N, K + 1) which classes occur in which images; the last column is for images without any."""
    here = np.zeros((len(whole), whole.labels.num_classes + 1), dtype=np.bool_)

    def look(place: int) -> None:
        try:
            here[place, whole.classes_of(place)] = True
        except InputError:  # who trains on it is told
            return

    if hasattr(whole, "boxes"):
        for place, (_, classes) in enumerate(whole.boxes()):
            here[place, classes] = True
    elif hasattr(whole, "classes"):
        here[np.arange(len(whole)), whole.classes()] = True
    else:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(look, range(len(whole))))
    here[:, -1] = ~here.any(axis=1)
    return here


def _say_missing(whole: Any, here: NDArray[np.bool_], val: Sequence[int]) -> None:
    """Say which classes there are too few groups of to be on both sides."""
    columns = here[:, :-1].T, here[list(val), :-1].T
    known = zip(whole.labels.names, *columns, strict=True)
    missing = [name for name, everywhere, of_val in known if everywhere.any() and not of_val.any()]
    if missing:
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        log.warning("data.split: no image to validate has %s%s", ", ".join(missing[:SHOWN]), more)


def _groups(whole: VisionData, names: Sequence[str]) -> list[list[int]]:
    """Positions of the images that belong together, each position once."""
    leader = list(range(len(names)))

    def root_of(place: int) -> int:
        while leader[place] != place:
            leader[place] = leader[leader[place]]
            place = leader[place]
        return place

    first: dict[tuple[str, str], int] = {}
    for place, name in enumerate(names):
        path = PurePosixPath(name)
        same = first.setdefault((str(path.parent), path.stem.partition(ROBOFLOW)[0]), place)
        leader[root_of(place)] = root_of(same)
    for group in _alike(whole):
        for place in group:
            leader[root_of(place)] = root_of(group[0])
    groups: dict[int, list[int]] = defaultdict(list)
    for place in range(len(names)):
        groups[root_of(place)].append(place)
    return list(groups.values())


def _alike(whole: VisionData) -> list[list[int]]:
    """Positions of images that look the same. One that cannot be read is like no other; who trains on it is told."""
    hashes = np.zeros(len(whole), dtype=np.uint64)
    thumbnails = np.zeros((len(whole), THUMBNAIL, THUMBNAIL, 3), dtype=np.uint8)

    def look(place: int) -> None:
        try:
            image = read_image(whole.path(place), shrink=4)
        except InputError:
            return
        hashes[place] = difference_hash(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False))
        thumbnails[place] = thumbnail(image)

    log.info("data.split: looking for images that are alike among %d", len(whole))
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(look, range(len(whole))))
    return same_images(hashes, thumbnails)


def _read(file: Path, config: SplitConfig, root: str | Path, names: Sequence[str]) -> dict[str, Any]:
    """The division of a file.

    Raises:
        InputError: it is none, or one of another share, seed or data set.
    """
    try:
        division = parse_json(read_text(file, REMEDY, MAX_NOTE_BYTES))
        lists = [division["train"], division["val"]]
        told = division["split"], division["seed"]
        if not all(isinstance(name, str) for one in lists for name in one):
            raise TypeError
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{file}: holds no division of a data set; {REMEDY}") from None
    if told != (config.split, config.split_seed):
        raise InputError(
            f"{file}: is the division of data.split={told[0]} data.split_seed={told[1]}, and now they are"
            f" {config.split:g} and {config.split_seed}; say the same, or name another file by data.split_file=FILE"
        )
    known, listed = set(names), [name for one in lists for name in one]
    for what, strange in (("has no", sorted(set(listed) - known)), ("has also", sorted(known - set(listed)))):
        if strange:
            more = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
            raise InputError(f"{file}: is of other images: {root} {what} {strange[0]}{more}; {REMEDY}")
    if not all(lists) or len(listed) != len(known):
        raise InputError(f"{file}: lists an image twice, or none of a split; {REMEDY}")
    return dict(division)
