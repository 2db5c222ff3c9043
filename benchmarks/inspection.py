"""The data doctor's pass over the images against a plain loop over Pillow, both measured in this run.

python benchmarks/inspection.py [--images FOLDER] [--count 5000] [--repeats 3] [--json FILE]

Each candidate finds the broken files and the images that occur twice. The peer is what one would write in a few
lines: Pillow decodes every image whole, the difference hash is taken with Pillow's resizing, and every hash is
compared with every other. Ours decodes a JPEG to an eighth of its sides, which still refuses truncated files, and
compares the hashes that share a quarter. One thread; the candidates take turns; the figures are medians of CPU time.
Some files are truncated and some are copies at a lower quality, so `found` says whether both do the same work. Without
--images it draws images of 640 x 480 pixels. Memory is what Python and numpy allocate beyond the start, at its
largest. (The name of this file is not `inspect`: that would hide Python's module of the name from its neighbours.)
"""

from __future__ import annotations

import os
import sys
import time
import tracemalloc
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from benchmarks.image_files import clouds, picture_files
from benchmarks.timing import Compared, common_options, medians_ms, write_json
from tasks.commands.inspect.duplicates import find_groups
from tasks.commands.inspect.reading import Reading
from tasks.data.datasets.classification import ClassificationDataset
from tasks.data.labels import LabelMap

if TYPE_CHECKING:
    from collections.abc import Callable

HEIGHT, WIDTH = 480, 640
QUALITY, COPY_QUALITY = 90, 60
EVERY = 50
"""One of so many drawn files is truncated, and one a copy of the file before it."""
MAX_BITS = 6
MAX_MEGAPIXELS = 90


class Found(NamedTuple):
    """How many files are broken, and how many images look like an earlier one."""

    broken: int
    copies: int


def draw_jpegs(folder: Path, count: int) -> None:
    """`count` images, of which some are truncated and some are copies."""
    rng = np.random.default_rng(0)
    image = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    for number in range(count):
        is_copy = number % EVERY == 1
        if not is_copy:
            image = clouds(rng, HEIGHT, WIDTH)
        data = simplejpeg.encode_jpeg(image, quality=COPY_QUALITY if is_copy else QUALITY, colorsubsampling="420")
        if number % EVERY == 2:
            data = data[: len(data) // 2]
        (folder / f"{number:06d}.jpg").write_bytes(data)


def ours(paths: list[Path]) -> Found:
    names = [str(path) for path in paths]
    data = ClassificationDataset(Path(), names, [0] * len(names), LabelMap.numbered(["any"]), MAX_MEGAPIXELS)
    reading = Reading(data, range(len(data)))
    reading.read(frozenset(), 1, lambda done: None)
    groups = find_groups({"train": reading})
    return Found(int((~reading.good).sum()), sum(len(group) - 1 for group in groups))


def plain_loop(paths: list[Path]) -> Found:
    broken, copies = 0, 0
    hashes: list[int] = []
    for path in paths:
        try:
            with Image.open(path) as picture:
                small = np.asarray(picture.convert("L").resize((9, 8), Image.Resampling.LANCZOS))
        except OSError:
            broken += 1
            continue
        bits = int.from_bytes(np.packbits(small[:, :-1] < small[:, 1:]).tobytes(), "big")
        copies += any((bits ^ other).bit_count() <= MAX_BITS for other in hashes)
        hashes.append(bits)
    return Found(broken, copies)


def found_and_mib(look: Callable[[list[Path]], Found], paths: list[Path]) -> tuple[Found, float]:
    """What a candidate finds, and the most memory that it takes."""
    tracemalloc.start()
    found = look(paths)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found, peak / 2**20


def main() -> None:
    parser = common_options(__doc__, repeats=3)
    parser.add_argument("--images", type=Path, help="folder of JPEG files, searched with its sub-folders")
    parser.add_argument("--count", type=int, default=5000, help="images to draw where no folder is given")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    candidates = {"ours": ours, "plain loop, Pillow": plain_loop}
    with picture_files(options.images, partial(draw_jpegs, count=options.count)) as paths:
        if not paths:
            parser.error(f"{options.images} holds no image")
        times = medians_ms([partial(look, paths) for look in candidates.values()], options.repeats, time.process_time)
        seen = {name: found_and_mib(look, paths) for name, look in candidates.items()}
    speeds = {name: 1000 * len(paths) / spent for name, spent in zip(candidates, times, strict=True)}
    print(f"{len(paths)} files, median of {options.repeats}")
    for name, (found, peak) in seen.items():
        ratio = speeds[name] / speeds["plain loop, Pillow"]
        print(f"{name:20} {speeds[name]:7.0f} images/s  ratio {ratio:5.2f}  peak {peak:5.1f} MiB  found {found}")
    peaks = {name: peak for name, (_, peak) in seen.items()}
    peer, what = "plain loop, Pillow", f"broken files and copies among {len(paths)}"
    compared = [
        Compared(what, speeds["ours"], peer, speeds[peer], "images/s", speeds["ours"] / speeds[peer]),
        Compared(what, peaks["ours"], peer, peaks[peer], "MiB at the peak", peaks[peer] / peaks["ours"]),
    ]
    write_json(options.json, {"files": len(paths), "images_per_second": speeds, "peak_mib": peaks}, compared)


if __name__ == "__main__":
    main()
