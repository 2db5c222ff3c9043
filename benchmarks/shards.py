"""Reading images: from tar shards and single files in random order, and as a stream where webdataset is installed.

python benchmarks/shards.py [--images 2000] [--kilobytes 110] [--repeats 5] [--json FILE]

One process. Every round opens, reads and closes as a training does, without decoding. The files are in the page cache,
which this cannot empty: it measures what the calls cost, not what a disk or a network file system does with many small
files, for which shards are made. webdataset reads from end to end and does not give a chosen image.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import simplejpeg

from benchmarks.timing import Compared, common_options, medians_ms, write_json
from tasks.commands.pack.contents import Item, divided
from tasks.commands.pack.writing import write_shard
from tasks.config.pack import PackConfig
from tasks.data.files.images import read_bytes
from tasks.data.formats.shards.files import ShardFiles
from tasks.data.formats.shards.index import read_index

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    parser = common_options(__doc__, repeats=5)
    parser.add_argument("--images", type=int, default=2000, help="pictures")
    parser.add_argument("--kilobytes", type=int, default=110, help="of each; ImageNet's have 110")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    header = simplejpeg.encode_jpeg(np.zeros((8, 8, 3), np.uint8))
    with tempfile.TemporaryDirectory() as temporary:
        folder, items = Path(temporary), []
        for number in range(options.images):
            path = folder / f"{number % 100:02d}" / f"{number:06d}.jpg"
            path.parent.mkdir(exist_ok=True)
            data = header + rng.bytes(options.kilobytes * 1000 - len(header))
            path.write_bytes(data)
            items.append(Item(f"{number:08d}", path, len(data), "jpg", b"0", "cls"))
        shards = []
        for number, part in enumerate(divided(items, PackConfig())):
            shards.append(folder / f"train-{number:06d}.tar")
            write_shard(shards[-1], part, lambda _: None)
        indices = [read_index(path) for path in shards]
        files = ShardFiles([(one.path, one.names, one.offsets, one.lengths) for one in indices])
        order = rng.permutation(options.images).tolist()
        candidates: dict[str, Callable[[], Any]] = {
            "shards, random order": lambda: [files.read(position) for position in order],
            "single files, random order": lambda: [read_bytes(items[position].image) for position in order],
        }
        if webdataset := _webdataset():
            names = [str(path) for path in shards]
            candidates["webdataset, in order"] = lambda: list(webdataset.WebDataset(names, shardshuffle=False))
        speeds = {
            name: options.images / spent * 1000
            for name, spent in zip(candidates, medians_ms(list(candidates.values()), options.repeats), strict=True)
        }
    print(f"{options.images} files of {options.kilobytes} kB in {len(shards)} shards, page cache warm")
    for name, speed in speeds.items():
        print(f"{name:28} {speed:9.0f} files/s {speed / speeds['single files, random order']:6.2f} of single files")
    ours, single = speeds["shards, random order"], speeds["single files, random order"]
    what = f"reading {options.images} files in random order from shards"
    write_json(options.json, speeds, [Compared(what, ours, "single files", single, "files/s", ours / single)])


def _webdataset() -> Any:
    try:
        import webdataset  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        return None
    return webdataset


if __name__ == "__main__":
    main()
