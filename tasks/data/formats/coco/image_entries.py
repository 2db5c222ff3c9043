"""The list `images` of COCO's files: where the images are, and how large."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from tasks.data.faults import caution, fault
from tasks.data.files.images import read_size
from tasks.data.files.sources import is_address
from tasks.data.formats.coco.instances import image_sizes, texts

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.data.files.boundary import Boundary

SIDES = ("height", "width")


def local_names(images: list[dict[str, Any]], folder: Path, file: Path) -> list[str]:
    r"""Names of the image files below `folder`; `\` separates folders where a name with it is no file.

    Raises:
        InputError: a name is none, or an address, unless faults are collected.
    """
    names = texts(images, "file_name", "images", file)
    if addresses := [name for name in names if is_address(name)]:
        fault(
            "address instead of a file",
            f"{file}: {len(addresses)} of {len(names)} images are addresses, such as {addresses[0]}, and training reads"
            f" files; fetch them into {folder} (wget -x keeps hosts as folders) and write their names as file_name",
            addresses,
        )
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        caution(
            "file of several image ids",
            f"{file}: {len(twice)} files, such as {twice[0]}, are listed under several image ids: what is annotated"
            " under one is background under the other; give the annotations of a file one image_id",
            twice,
        )
    return [name.replace("\\", "/") if "\\" in name and not (folder / name).is_file() else name for name in names]


def known_sizes(
    images: list[dict[str, Any]], names: list[str], folder: Path, file: Path, boundary: Boundary
) -> list[tuple[int, int]]:
    """Height and width in pixels of every image; those that the file does not state are read from the images.

    Raises:
        InputError: a size cannot be one, or an image is broken.
    """
    silent = [place for place, row in enumerate(images) if any(row.get(side) is None for side in SIDES)]
    for place in silent:
        path = folder / names[place]
        is_there = path.is_file() and boundary.holds(path)  # where it is not, that is said of the file
        for side, pixels in zip(SIDES, read_size(path) if is_there else (1, 1), strict=True):
            if images[place].get(side) is None:
                images[place][side] = pixels
    if silent:
        caution(
            "image without size",
            f"{file}: {len(silent)} of {len(images)} images have no height and width; they were read from the images",
            [names[place] for place in silent],
        )
    return image_sizes(images, file)
