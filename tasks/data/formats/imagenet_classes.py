"""The 1000 classes of ImageNet's challenge, sorted by their WordNet ids, from one of the lists that come with the data.

Reference: ImageNet Large Scale Visual Recognition Challenge, arXiv:1409.0575; the development kit's `readme.txt`.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from backbone.errors import InputError
from tasks.data.checks import check_unique
from tasks.data.files.contents import parse_json, read_text
from tasks.data.files.mat import Struct, read_mat
from tasks.data.labels import LabelMap

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

NUM_CLASSES = 1000
WNID = re.compile(r"n\d{8}")
CLASS_INDEX = "imagenet_class_index.json"
SYNSET_MAPPING = "LOC_synset_mapping.txt"
DEVKIT = "ILSVRC2012_devkit_t12/data"
META = "meta.mat"


@dataclass(slots=True)
class Synset:
    """A class: its WordNet id and its name."""

    wnid: str
    name: str


def read_classes(root: Path, folders: Sequence[str]) -> list[Synset]:
    """The 1000 classes, sorted by id; the place of a class is its index.

    Args:
        root: holds `imagenet_class_index.json`, `LOC_synset_mapping.txt` or the development kit.
        folders: names of the class folders that there are; if they are 1000, no list is needed, and a class is called
            by its id.

    Raises:
        InputError: there is no list, or it is broken, or it has not 1000 different ids.
    """
    readers: dict[Path, Callable[[Path], list[Synset]]] = {
        root / CLASS_INDEX: _read_class_index,
        root / SYNSET_MAPPING: _read_synset_mapping,
        root / DEVKIT / META: lambda file: list(read_devkit(file).values()),
    }
    file = next((file for file in readers if file.is_file()), None)
    if file is not None:
        synsets = readers[file](file)
    elif len(folders) == NUM_CLASSES:
        file, synsets = root, [Synset(name, name) for name in folders]
    else:
        raise InputError(
            f"{root}: {len(folders)} class folders, and nothing says which of the {NUM_CLASSES} classes they are; put"
            f" {CLASS_INDEX}, {SYNSET_MAPPING} or {DEVKIT}/{META} there, or say data=folder to count these only"
        )
    check_unique([synset.wnid for synset in synsets], "class", file)
    strange = [synset.wnid for synset in synsets if not WNID.fullmatch(synset.wnid)]
    if strange:
        raise InputError(f"{file}: {strange[0]!r} is no WordNet id such as n01440764; correct it")
    if len(synsets) != NUM_CLASSES:
        raise InputError(
            f"{file}: has {len(synsets)} classes; ImageNet has {NUM_CLASSES}: complete it or say data=folder"
        )
    return sorted(synsets, key=lambda synset: synset.wnid)


def label_map(synsets: Sequence[Synset]) -> LabelMap:
    """Names, told apart where two classes share one, as the bird and the machine called crane; ids are WordNet's."""
    counts = Counter(synset.name for synset in synsets)
    names = [f"{s.name} ({s.wnid})" if counts[s.name] > 1 and s.name != s.wnid else s.name for s in synsets]
    return LabelMap(names, [int(synset.wnid[1:]) for synset in synsets])


def read_devkit(meta: Path) -> dict[int, Synset]:
    """The classes by the kit's own number, 1 .. 1000, which is not the order of the ids.

    Raises:
        InputError: the file is no such table.
    """
    found = read_mat(meta, "synsets", "unpack the kit again")
    fields = ("ILSVRC2012_ID", "WNID", "words", "num_children")
    if not isinstance(found, Struct) or not found.keys() >= set(fields):
        raise InputError(f"{meta}: synsets has not the fields {', '.join(fields)}; unpack the kit again")
    synsets: dict[int, Synset] = {}
    for number, wnid, words, children in zip(*(found[field] for field in fields), strict=True):
        if not (isinstance(wnid, str) and isinstance(words, str) and _is_one(number) and _is_one(children)):
            raise InputError(f"{meta}: a class has no number, id or name; unpack the kit again")
        if children.item() == 0:
            synsets[int(number.item())] = Synset(wnid, _first_name(words))
    return synsets


def _is_one(value: Any) -> bool:
    """Whether a value of a MAT file is one whole number."""
    return isinstance(value, np.ndarray) and value.size == 1 and value.item() == value.item() // 1


def _read_class_index(file: Path) -> list[Synset]:
    text = read_text(file, "fetch it again")
    try:
        pairs = [(wnid, name) for wnid, name in parse_json(text).values()]
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f'{file}: must read {{"0": ["n01440764", "tench"], ...}} ({error}); correct it') from error
    strange = next((pair for pair in pairs if not all(isinstance(word, str) for word in pair)), None)
    if strange is not None:
        raise InputError(f'{file}: must read {{"0": ["n01440764", "tench"], ...}}, not {list(strange)}; correct it')
    return [Synset(wnid, name.replace("_", " ")) for wnid, name in pairs]


def _read_synset_mapping(file: Path) -> list[Synset]:
    lines = [line.partition(" ") for line in read_text(file, "fetch it again").splitlines() if line.strip()]
    return [Synset(wnid, _first_name(words) or wnid) for wnid, _, words in lines]


def _first_name(words: str) -> str:
    return words.partition(",")[0].strip()
