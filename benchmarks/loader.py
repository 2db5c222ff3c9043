"""From JPEG files to training images: Trident against torchvision's two pipelines, all measured in this run.

python benchmarks/loader.py [--images FOLDER] [--size 224] [--repeats 7] [--json FILE]

One process, one thread. Every candidate reads the same files, draws windows of 8 to 100 % of the area, resizes them to
the square and mirrors half of them. The first peer is torchvision's reference (Pillow, RandomResizedCrop, flip,
ToTensor, Normalize), the second its v2 transforms on tensors (decode_jpeg). Theirs end in normalised floats. Ours end
in uint8 and are normalised on the device, whole batches at once; the row "ours, normalised" does that here on the CPU,
image by image. The candidates take turns, so that a busy machine disturbs all alike; the figures are medians of CPU
time. Without --images it draws images of 500 x 375 pixels.
"""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import simplejpeg
import torch
from PIL import Image
from torchvision import transforms as v1
from torchvision.io import ImageReadMode, decode_jpeg, read_file
from torchvision.transforms import v2

from benchmarks.image_files import clouds, picture_files
from benchmarks.timing import Compared, common_options, medians_ms, write_json
from tasks.data.datasets.classification import ClassificationDataset
from tasks.data.labels import LabelMap
from tasks.data.loading.sampling import TransformedData
from tasks.data.transforms.imagenet import RandomCrop
from tasks.runs.machine import tune

if TYPE_CHECKING:
    from collections.abc import Callable

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HEIGHT, WIDTH, DRAWN = 375, 500, 100
QUALITY = 90
MAX_MEGAPIXELS = 90


def draw_jpegs(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(DRAWN):
        data = simplejpeg.encode_jpeg(clouds(rng, HEIGHT, WIDTH), quality=QUALITY, colorsubsampling="420")
        (folder / f"{number:03d}.jpg").write_bytes(data)


def candidates(paths: list[Path], size: int) -> dict[str, Callable[[int], Any]]:
    """By name: makes the training image at a position."""
    names, labels = [str(path) for path in paths], LabelMap.numbered(["any"])
    data = ClassificationDataset(Path(), names, [0] * len(names), labels, MAX_MEGAPIXELS)
    ours = TransformedData(data, RandomCrop(size))
    reference = v1.Compose(
        [v1.RandomResizedCrop(size), v1.RandomHorizontalFlip(), v1.ToTensor(), v1.Normalize(MEAN, STD)]
    )
    on_tensors = v2.Compose(
        [
            v2.RandomResizedCrop(size, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )
    scale = 1 / (255 * torch.tensor(STD))
    shift = torch.tensor(MEAN) / torch.tensor(STD)

    def read_reference(position: int) -> Any:
        with Image.open(names[position]) as picture:
            return reference(picture.convert("RGB"))

    def read_on_tensors(position: int) -> Any:
        return on_tensors(decode_jpeg(read_file(names[position]), ImageReadMode.RGB))

    return {
        "ours": lambda position: ours[position].image,
        "ours, normalised": lambda position: torch.from_numpy(ours[position].image).float().mul_(scale).sub_(shift),
        "torchvision, Pillow": read_reference,
        "torchvision v2, tensors": read_on_tensors,
    }


def images_per_second(read: dict[str, Callable[[int], Any]], count: int, repeats: int) -> dict[str, float]:
    """Of CPU time, median."""

    def over_all(candidate: Callable[[int], Any]) -> None:
        for position in range(count):
            candidate(position)

    times = medians_ms([partial(over_all, candidate) for candidate in read.values()], repeats, time.process_time)
    return {name: 1000 * count / spent for name, spent in zip(read, times, strict=True)}


def main() -> None:
    parser = common_options(__doc__, repeats=7)
    parser.add_argument("--images", type=Path, help="folder of JPEG files, searched with its sub-folders")
    parser.add_argument("--size", type=int, default=224, help="side of the square in pixels")
    options = parser.parse_args()
    torch.set_num_threads(1)
    tune()  # for all candidates, as a training does before it starts its workers
    torch.manual_seed(0)
    with picture_files(options.images, draw_jpegs) as pictures:
        paths = [path for path in pictures if path.read_bytes()[:2] == b"\xff\xd8"]
        if not paths:
            parser.error(f"{options.images} holds no JPEG file")
        pixels = median(int(np.prod(simplejpeg.decode_jpeg_header(path.read_bytes())[:2])) for path in paths)
        figures = images_per_second(candidates(paths, options.size), len(paths), options.repeats)
    peers = list(figures)[2:]
    print(f"{len(paths)} JPEG files, median {pixels / 1000:.0f} kilopixels, to {options.size} x {options.size} pixels")
    print(f"{'':24}  images/s  " + "  ".join(f"ratio to {peer}" for peer in peers))
    for name, speed in figures.items():
        ratios = "  ".join(f"{speed / figures[peer]:{len(peer) + 9}.2f}" for peer in peers)
        print(f"{name:24}  {speed:8.0f}  {ratios}")
    speed, what = figures["ours"], f"JPEG files to training images of {options.size} px"
    compared = [Compared(what, speed, peer, figures[peer], "images/s a core", speed / figures[peer]) for peer in peers]
    write_json(options.json, {"files": len(paths), "median_pixels": pixels, "images_per_second": figures}, compared)


if __name__ == "__main__":
    main()
