"""COCO 2017's official archives, and the way to a folder that the COCO reader reads.

Sizes and MD5 sums are those that the archives have been listed with in public since 2017 (they agree in dozens of
independent repositories; the organisers publish none). `http://images.cocodataset.org` is the official address. It has
no certificate of its own, so the same storage is asked first under the address that has one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from backbone.disk import check_space
from backbone.errors import InputError
from tasks.data.files.download import fetch
from tasks.data.files.unpack import unpack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

MIRRORS = ("https://s3.amazonaws.com/images.cocodataset.org", "http://images.cocodataset.org")


class Archive(NamedTuple):
    """One archive of a data set.

    Attributes:
        path: below the address of a mirror.
        size: bytes.
        gives: what must be in the data folder when it is unpacked; where all of it is, nothing is done.
        only: names to unpack; None is everything.
    """

    path: str
    size: int
    md5: str
    gives: tuple[str, ...]
    only: tuple[str, ...] | None = None


INSTANCES = ("annotations/instances_train2017.json", "annotations/instances_val2017.json")
COCO_2017 = {
    "annotations": Archive(
        "annotations/annotations_trainval2017.zip",
        252_907_541,
        "f4bbac642086de4f52a3fdda2de5fa2c",
        INSTANCES,
        only=INSTANCES,
    ),
    "val2017": Archive("zips/val2017.zip", 815_585_330, "442b8da7639aecaf257c1dceb8ba8c80", ("val2017",)),
    "train2017": Archive("zips/train2017.zip", 19_336_861_798, "cced6f7f71b7629ddf16f17bbcfab6b2", ("train2017",)),
}


def download_coco(
    root: str | Path,
    base_url: str | None = None,
    *,
    parts: Sequence[str] = ("annotations", "val2017", "train2017"),
    archives: dict[str, Archive] = COCO_2017,
    attempts: int = 5,
    console: Console | None = None,
) -> list[str]:
    """Bring `root` into COCO's layout: `annotations/`, `val2017/`, `train2017/`. Only what is missing is done.

    A folder of images that exists is used as it is; annotation files are looked at one by one. An archive lies in
    `root` while it is worked on and is removed when it is unpacked. An interrupted run goes on where it was.

    Args:
        base_url: a mirror in the place of the official ones, with the same paths below it.
        parts: which of the archives; small ones first, so that what is wrong shows early.
        archives: the table.
        attempts: see `backbone.weights.download.fetch`.
    Returns:
        The parts that had to be fetched.
    Raises:
        InputError: an unknown part, no space for the archives and what they hold, or what `fetch` and `unpack` raise.
    """
    root = Path(root)
    for part in parts:
        if part not in archives:
            raise InputError(f"download part {part!r}: must be one of {', '.join(archives)}")
    missing = [part for part in parts if not all((root / name).exists() for name in archives[part].gives)]
    # Unpacked images are as large as their archive. The archive of one part is gone before the next one comes.
    sizes = [archives[part].size for part in missing]
    check_space(root.absolute(), sum(sizes) + max(sizes, default=0))
    for part in missing:
        archive = archives[part]
        mirrors = MIRRORS if base_url is None else (base_url,)
        urls = [f"{mirror.rstrip('/')}/{archive.path}" for mirror in mirrors]
        file = root / Path(archive.path).name
        fetch(urls, file, md5=archive.md5, size=archive.size, attempts=attempts, console=console)
        unpack(file, root, only=archive.only, console=console)
        file.unlink()
    return missing
