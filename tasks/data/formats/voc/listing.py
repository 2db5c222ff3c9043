"""Which images a split of VOC's XML files has: those of a list, of a folder of its name, or all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from backbone.errors import InputError
from tasks.data.checks import check_images_exist, require_folder
from tasks.data.faults import caution
from tasks.data.files.boundary import Boundary, files_below
from tasks.data.files.images import is_image
from tasks.data.formats.voc.folder import IMAGES, REMEDY, file_names, read_list
from tasks.data.split_names import DIVIDE

LAYOUT = "VOC's layout with Annotations/, JPEGImages/ and ImageSets/Main/{split}.txt, or {split}/ with images and XML"
ANNOTATIONS, SUFFIX = "Annotations", ".xml"


@dataclass(slots=True)
class Listing:
    """The images of a split and their XML files.

    Attributes:
        source: list or folder that they come from, for messages.
        folder: that the names of the images are relative to.
        pairs: paths of XML file and image. The XML file may be missing where a list names the image.
    """

    source: Path
    folder: Path
    pairs: list[tuple[Path, Path]]


def split_list(root: str | Path, split: str) -> Path:
    """The file that lists the images of a split."""
    return Path(root) / "ImageSets" / "Main" / f"{split}.txt"


def has_split(root: Path, split: str) -> bool:
    """Whether there is a list of this name, or a folder with XML files in it."""
    return split_list(root, split).is_file() or _has_xml(root / split)


def list_split(root: Path, split: str, boundary: Boundary) -> Listing:
    """The images of the list of this name, or where there is none, of the folder of this name.

    Raises:
        InputError: a file or folder is missing, or an image is listed twice.
    """
    if _has_xml(root / split) and not split_list(root, split).is_file():
        return _in_folder(root / split, boundary)
    require_folder(root, LAYOUT, REMEDY)
    if not (root / "ImageSets").is_dir() and _has_xml(root):
        raise InputError(f"{root}: has no split {split}, neither a list nor a folder of that name; {DIVIDE}")
    folder, xml_folder, listing = root / IMAGES, root / ANNOTATIONS, split_list(root, split)
    require_folder(folder, "the images", REMEDY)
    require_folder(xml_folder, "the annotations", REMEDY)
    names = read_list(listing)
    found = file_names(folder, deep=any("/" in name for name in names))
    names = [as_stem(name, found) for name in names]
    check_images_exist(folder, [found.get(name, f"{name}.jpg") for name in names], listing, boundary)
    boundary.report([] if boundary.holds(xml_folder) else [xml_folder])
    return Listing(listing, folder, [(xml_folder / f"{n}{SUFFIX}", folder / found[n]) for n in names if n in found])


def list_all(root: Path, boundary: Boundary) -> Listing:
    """Every image of a data set without splits that has an XML file.

    Raises:
        InputError: there is none.
    """
    if not ((root / IMAGES).is_dir() and (root / ANNOTATIONS).is_dir()):
        return _in_folder(root, boundary)
    found = file_names(root / IMAGES, deep=True)
    xml = file_names(root / ANNOTATIONS, deep=True)
    names = sorted(name for name in found if name in xml)
    _say_alone([root / IMAGES / found[name] for name in found if name not in xml and is_image(found[name])])
    if not names:
        raise InputError(f"{root}: no image in {IMAGES} has an XML file of its name in {ANNOTATIONS}; {REMEDY}")
    pairs = [(root / ANNOTATIONS / xml[name], root / IMAGES / found[name]) for name in names]
    return Listing(root / ANNOTATIONS, root / IMAGES, pairs)


def as_stem(name: str, known: dict[str, str]) -> str:
    """A line of a list as the name of an image without suffix: without its suffix, and without a second column that
    says whether a class occurs (1, 0 or -1), where that makes it known."""
    words = name.split()
    first = words[0] if len(words) == 2 and words[1] in ("1", "0", "-1") else name
    for one in (name, first):
        stem = one.rpartition(".")[0] if is_image(one) else one
        if one in known or stem in known:
            return one if one in known else stem
    return name


def _in_folder(folder: Path, boundary: Boundary) -> Listing:
    """Images with an XML file of their name beside them, or in a folder `Annotations` or `annotations` beside theirs.

    Raises:
        InputError: there is none.
    """
    require_folder(folder, LAYOUT, REMEDY)
    paths = [Path(path) for path in files_below(folder, boundary)]
    xml: dict[str, Path] = {path.stem: path for path in paths if path.suffix.lower() == SUFFIX}
    images = sorted(path for path in paths if is_image(path.name))
    stems: dict[str, Path] = {}
    for path in images:
        if path.stem in stems:
            raise InputError(
                f"{path}: has the same name as {stems[path.stem]}, and XML files belong to images by name; rename one"
            )
        stems[path.stem] = path
    _say_alone([path for path in images if path.stem not in xml])
    pairs = [(xml[stem], path) for stem, path in stems.items() if stem in xml]
    if not pairs:
        raise InputError(f"{folder}: has no image with an XML file of its name; {LAYOUT} is expected: {REMEDY}")
    return Listing(folder, folder, pairs)


def _say_alone(paths: list[Path]) -> None:
    """Say of images that they have no XML file: whether nothing is on them is not known."""
    if paths:
        text = f"{paths[0]}: {len(paths)} images have no XML file and are left out; the first is named here"
        caution("image without annotation", text, [str(path) for path in paths])


def _has_xml(folder: Path) -> bool:
    return folder.is_dir() and next(folder.rglob(f"*{SUFFIX}"), None) is not None
