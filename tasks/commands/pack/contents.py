"""What goes into the shards of a split: for every image its file and what is known of it. Nothing is read yet."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backbone.errors import InputError
from tasks.data.files.images import REMEDY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tasks.config.pack import PackConfig
    from tasks.data.splits import VisionData

BLOCK = 512
"""Bytes of a block of a tar: a header has one, and a file is filled up to whole ones."""
MEGABYTE = 1_000_000
NUMBERS = 8
"""Digits in the key of a sample."""
MAX_STEM = 60


@dataclass(slots=True)
class Item:
    """A sample of a shard.

    Attributes:
        key: of its files; unique in the split, and plain whatever the image is called.
        image: the file that is copied.
        length: of it, in bytes.
        suffix: of it in the shard, without a dot.
        label: the contents of the file beside it.
        label_suffix: `cls` or `json`.
    """

    key: str
    image: Path
    length: int
    suffix: str
    label: bytes
    label_suffix: str

    @property
    def packed_bytes(self) -> int:
        """In the tar."""
        return sum(BLOCK + -(-size // BLOCK) * BLOCK for size in (self.length, len(self.label)))


def items_of(data: VisionData, kind: str, order: Sequence[int]) -> list[Item]:
    """The images of a split, in this order.

    Raises:
        InputError: an image is missing.
    """
    labels = _boxes(data) if kind == "detection" else _classes(data)
    suffix = "json" if kind == "detection" else "cls"
    items = []
    for number, position in enumerate(order):
        path = data.path(position)
        try:
            size = path.stat().st_size
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); {REMEDY}") from error
        stem = re.sub(r"[^A-Za-z0-9_-]", "_", path.stem)[:MAX_STEM]
        key = f"{number:0{NUMBERS}d}-{stem}"
        items.append(Item(key, path, size, path.suffix[1:].lower(), labels[position], suffix))
    return items


def divided(items: Sequence[Item], config: PackConfig) -> Iterator[list[Item]]:
    """Shard by shard, as many as fit; one at least."""
    shard: list[Item] = []
    filled = 0
    for item in items:
        full = filled + item.packed_bytes > config.shard_megabytes * MEGABYTE or len(shard) == config.shard_images
        if shard and full:
            yield shard
            shard, filled = [], 0
        shard.append(item)
        filled += item.packed_bytes
    if shard:
        yield shard


def fingerprint(items: Sequence[Item]) -> str:
    """A hash of what is packed: names, sizes and labels; images are not read for it."""
    digest = hashlib.sha256()
    for item in items:
        for part in (item.key, item.image.name, str(item.length), item.suffix):
            digest.update(part.encode("utf-8", "surrogateescape") + b"\0")
        digest.update(item.label + b"\n")
    return digest.hexdigest()


def _classes(data: Any) -> list[bytes]:
    return [str(index).encode() for index in data.classes().tolist()]


def _boxes(data: Any) -> list[bytes]:
    """For every image its entry in COCO's format, with the entries of its objects."""
    truth = data.ground_truth()
    objects: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in truth["images"]}
    for row in truth["annotations"]:
        objects[row["image_id"]].append({key: row[key] for key in ("id", "bbox", "category_id", "area", "iscrowd")})
    return [json.dumps(image | {"annotations": objects[image["id"]]}).encode() for image in truth["images"]]
