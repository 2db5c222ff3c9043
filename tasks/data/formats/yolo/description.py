"""What a YOLO data set says of itself: `data.yaml` of Ultralytics and Roboflow, `obj.data` of Darknet, or its folders.

Paths in these files are relative to `path`, if there is one, and to the folder of the file; where that is not so, a
leading `../` or first folder is left out, as Ultralytics does: many files name the place where they once lay. YAML is
read as plain values. Reference: https://docs.ultralytics.com/datasets/detect/.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import yaml

from backbone.errors import InputError
from tasks.data.checks import require_folder, require_root
from tasks.data.files.contents import read_text, shown
from tasks.data.split_names import DIVIDE, USUAL

if TYPE_CHECKING:
    from tasks.data.config import YoloConfig

LAYOUT = "YOLO's layout with data.yaml, images/{split}/ and labels/{split}/"
REMEDY = "data.root=FOLDER names the data set, or its data.yaml"
FIX = "correct the file"
YAML_SUFFIXES = (".yaml", ".yml")
DARKNET = "obj.data"
NAME_FILES = ("classes.txt", "obj.names", "labels.txt")
"""Lists of class names, one a line, of LabelImg, Label Studio, CVAT and others."""
MAX_CLASSES = 100_000
KEYPOINTS = "kpt_shape"


@dataclass(slots=True)
class Description:
    """A data set as it says.

    Attributes:
        file: that says it; the folder, if none does.
        root: folder of the data set, which files must not leave.
        names: of the classes.
        splits: by the names of the splits, their folders and lists of images.
        columns: numbers in a line of the labels after those of the box, which are no outline: points of a body.
        others: folders of all images where the data set has no splits; empty if it has.
    """

    file: Path
    root: Path
    names: list[str]
    splits: dict[str, list[Path]] = field(default_factory=dict)
    columns: int = 0
    others: list[Path] = field(default_factory=list)


def describe(config: YoloConfig) -> Description:
    """Find and read the description.

    Raises:
        InputError: there is none, several, or it does not tell what it must.
    """
    root = Path(require_root(_folder_of(config.root), LAYOUT, REMEDY))
    if config.root is not None and Path(config.root).is_file():
        file: Path | None = Path(config.root)
    else:
        file = _only_yaml(root)
    if file is not None and file.suffix.lower() in YAML_SUFFIXES:
        return _from_yaml(file, root)
    return _from_darknet(root / DARKNET, root) if (root / DARKNET).is_file() else _from_folders(root)


def _folder_of(root: str | None) -> str | None:
    return str(Path(root).parent) if root is not None and Path(root).is_file() else root


def _only_yaml(root: Path) -> Path | None:
    """`data.yaml`, or the only other YAML file that has `names`; None if there is none."""
    if (root / "data.yaml").is_file():
        return root / "data.yaml"
    found = sorted(path for suffix in YAML_SUFFIXES for path in root.glob(f"*{suffix}"))
    found = [path for path in found if re.search(r"^names\s*:", read_text(path, FIX), re.MULTILINE)]
    if len(found) > 1:
        raise InputError(f"{root}: has several descriptions; name one by data.root={found[0]}")
    return found[0] if found else None


def _from_yaml(file: Path, root: Path) -> Description:
    try:
        contents = yaml.load(read_text(file, FIX), Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" line {where.line + 1}" if where is not None else ""
        problem = getattr(error, "problem", None) or "holds what is no plain value"
        raise InputError(f"{file}:{line} no YAML ({problem}); {FIX}") from None
    if not isinstance(contents, dict):
        raise InputError(f"{file}: holds no keys; data.yaml has names, train and val; {FIX}")
    found = Description(file, root, _names(contents, file))
    base = contents.get("path")
    if base is not None and not isinstance(base, str):
        raise InputError(f"{file}: path is {shown(base)}; must be a text; {FIX}")
    bases = [*([file.parent / base, Path(base)] if base else []), file.parent]
    for key in dict.fromkeys(name for names in USUAL for name in names):
        if contents.get(key):
            found.splits[key] = [_place(text, bases, file, key) for text in _texts(contents[key], file, key)]
    points = contents.get(KEYPOINTS)
    if points is not None:
        if not (isinstance(points, list) and len(points) == 2 and all(isinstance(n, int) and n > 0 for n in points)):
            raise InputError(f"{file}: {KEYPOINTS} is {shown(points)}; must be [points, numbers of each]; {FIX}")
        found.columns = points[0] * points[1]
    if not found.splits:
        _look_for_splits(found)
    return found


def _names(contents: dict[Any, Any], file: Path) -> list[str]:
    names = contents.get("names")
    if isinstance(names, dict):
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            raise InputError(f"{file}: names counts {shown(list(names))}; must be 0, 1, 2 and so on, each once; {FIX}")
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names or len(names) > MAX_CLASSES:
        raise InputError(f"{file}: names is {shown(names)}; must be a list of class names, or {{0: name, ..}}; {FIX}")
    strange = [name for name in names if isinstance(name, list | dict) or name is None or str(name).strip() == ""]
    if strange:
        raise InputError(f"{file}: names has {shown(strange[0])}; must be a text; {FIX}")
    count = contents.get("nc")
    if count is not None and count != len(names):
        raise InputError(f"{file}: nc is {shown(count)} and names has {len(names)}; {FIX}")
    return [_text(name) for name in names]


def _text(name: Any) -> str:
    """A name as it was written: YAML takes yes, no and numbers for more than words."""
    return {True: "true", False: "false"}[name] if isinstance(name, bool) else str(name).strip()


def _texts(value: Any, file: Path, key: str) -> list[str]:
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str) and one.strip() and "\0" not in one for one in values):
        raise InputError(
            f"{file}: {key} is {shown(value)}; must be a folder, a list of images (.txt), or several; {FIX}"
        )
    return [one.strip() for one in values]


def _place(text: str, bases: list[Path], file: Path, key: str) -> Path:
    """The folder or list of images of a split: of those that a path may mean, the first that is there.

    Raises:
        InputError: none is.
    """
    text = text.replace("\\", "/")
    parts = PurePosixPath(text).parts
    while parts[:1] == ("..",):
        parts = parts[1:]
    shorter = [PurePosixPath(*parts[start:]) for start in range(len(parts))]
    tried = [base / text for base in bases] + [base / short for short in shorter for base in bases[-1:]]
    place = next((path for path in tried if path.exists()), None)
    if place is None:
        raise InputError(f"{tried[0]}: there is no such folder or list; {file} names it as {key}: {FIX}")
    return place


def _from_darknet(file: Path, root: Path) -> Description:
    pairs = dict(line.split("=", 1) for line in read_text(file, FIX).splitlines() if "=" in line)
    said = {key.strip(): value.strip() for key, value in pairs.items()}
    if "names" not in said:
        raise InputError(f"{file}: has no names=FILE; {FIX}")
    found = Description(file, root, _lines(_place(said["names"], [root], file, "names")))
    darknet = {"train": "train", "valid": "val", "val": "val", "test": "test"}
    for key, name in darknet.items():
        if said.get(key):
            found.splits[name] = [_place(said[key], [root], file, key)]
    return found


def _from_folders(root: Path) -> Description:
    """What tells of a data set without a description: class names in a file of their own, splits by their folders.

    Raises:
        InputError: there are no class names.
    """
    files = [folder / name for name in NAME_FILES for folder in (root, root / "labels", root / "train")]
    file = next((path for path in files if path.is_file()), None)
    if file is None:
        raise InputError(
            f"{root}: has no data.yaml, and no class names in {', '.join(NAME_FILES)}; write a data.yaml with"
            " names: [NAME, ..], train: and val:"
        )
    found = Description(file, root, _lines(file))
    _look_for_splits(found)
    return found


def _look_for_splits(found: Description) -> None:
    """The splits of a data set whose description names none: folders or lists that are called so, or all images."""
    root = found.root
    for name in dict.fromkeys(name for names in USUAL for name in names):
        here = [root / "images" / name, root / name / "images", root / name, root / f"{name}.txt"]
        place = next((path for path in here if path.exists()), None)
        if place is not None:
            found.splits[name] = [place]
    if not found.splits:
        found.others = _image_folders(root)


def _image_folders(root: Path) -> list[Path]:
    folder = next((root / name for name in ("images", "obj_train_data") if (root / name).is_dir()), root)
    return [folder]


def _lines(file: Path) -> list[str]:
    names = [line.strip() for line in read_text(file, FIX).splitlines() if line.strip()]
    if not names:
        raise InputError(f"{file}: has no class name; write one a line")
    return names


def require_split(found: Description, split: str) -> list[Path]:
    """Folders and lists of a split.

    Raises:
        InputError: it has none of this name.
    """
    if split not in found.splits:
        there = ", ".join(found.splits) or "none"
        raise InputError(f"{found.file}: has no split {split}, and of splits {there}; name it there, or {DIVIDE}")
    for path in found.splits[split]:
        if not path.is_file():
            require_folder(path, f"the images of {split}", REMEDY)
    return found.splits[split]
