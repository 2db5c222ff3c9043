"""Tar shards with boxes, as mode=pack writes them: `KEY.jpg` with `KEY.json`.

The latter holds an image's entry of a COCO file and, in `annotations`, those of its objects. The classes are in the
manifest. Samples, figures and their order are those of the data set that was packed.

Shapes: N images, B boxes.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from backbone.errors import InputError
from tasks.data.checks import check_unique
from tasks.data.datasets.detection import Annotations, DetectionDataset, NoDetections
from tasks.data.files.contents import parse_json
from tasks.data.formats.coco.instances import (
    INT64,
    check_annotations,
    check_objects,
    column,
    image_sizes,
    texts,
    whole_numbers,
)
from tasks.data.formats.shards.classes import FoundSplit, found_splits
from tasks.data.formats.shards.files import ShardFiles, joined
from tasks.data.formats.shards.index import are_numbers, files_fit, kept, walk
from tasks.data.splits import DataSplits
from tasks.data.subset import of_classes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tasks.data.config import BadBoxes, ShardsConfig
    from tasks.data.formats.shards.index import Arrays, TarSample
    from tasks.data.labels import LabelMap

INDEX_SUFFIX = ".boxes.npz"


class ShardDetection(DetectionDataset):
    """The images of several shards and their boxes, in their order.

    Args:
        shards: the paths, and of each what `index_boxes` gives.
        labels: of the whole data set.
        bad_boxes: what to do with boxes that cannot be learned.

    Raises:
        InputError: an id of an image occurs twice, a category is not in `labels`, or see `DetectionDataset`.
    """

    def __init__(self, shards: Sequence[tuple[Path, Arrays]], labels: LabelMap, bad_boxes: BadBoxes) -> None:
        self._files = ShardFiles([(path, of["names"], of["offsets"], of["lengths"]) for path, of in shards])
        where = shards[0][0].parent
        starts = np.cumsum([0, *(len(of["names"]) for _, of in shards)])

        def all_of(name: str) -> NDArray[Any]:
            return joined([of[name] for _, of in shards], np.float64)

        image_ids, categories = all_of("image_ids"), all_of("category_ids")
        check_unique(image_ids.tolist(), "image id", where)
        self._check_categories(categories, labels, where)
        table = Annotations(
            file_names=all_of("file_names"),
            image_ids=image_ids,
            sizes=all_of("sizes"),
            owner=joined([of["owner"] + start for (_, of), start in zip(shards, starts, strict=False)], np.int64),
            bbox_xywh_px=all_of("bbox_xywh_px"),
            labels=np.array([labels.to_index(category) for category in categories.tolist()], dtype=np.int64),
            crowd=all_of("crowd"),
            areas=all_of("areas"),
        )

        def describe(box: int) -> str:
            image = int(table.owner[box])
            return f"a box of {self._files.path(image)} with bbox {table.bbox_xywh_px[box].tolist()}"

        super().__init__(where, table, labels, bad_boxes, where, describe)

    def path(self, index: int) -> Path:
        """Path of the shard, and below it the name within."""
        return self._files.path(index)

    def contents(self, index: int) -> bytes:
        """See `DetectionDataset.contents`."""
        return self._files.read(index)

    @staticmethod
    def _check_categories(categories: NDArray[np.int64], labels: LabelMap, where: Path) -> None:
        strange = [category for category in np.unique(categories).tolist() if category not in labels]
        if strange:
            raise InputError(
                f"{where}: a shard has category_id {strange[0]}, which its manifest does not list; allowed are"
                f" {', '.join(map(str, labels.ids))}: write the shards again by mode=pack"
            )


def build_splits(config: ShardsConfig, *, need_train: bool = True) -> DataSplits:
    """Train and val, of all classes or those of `config.classes`.

    Args:
        need_train: False allows that there is no training shard; train is empty then.

    Raises:
        InputError: there is no shard or no manifest, or a shard is broken.
    """
    train, val = found_splits(config, "detection", need_train=need_train)
    labels = val.labels
    if labels is None:
        raise InputError(
            f"{config.root}: there is no manifest, which names the classes, beside the shards; write them by mode=pack"
        )
    datasets = [
        _dataset(split, labels, config.bad_boxes) if split.paths else NoDetections(labels) for split in (train, val)
    ]
    return of_classes(DataSplits(train=datasets[0], val=datasets[1], test=None, labels=labels), config.classes)


def _dataset(split: FoundSplit, labels: LabelMap, bad_boxes: BadBoxes) -> ShardDetection:
    return ShardDetection([(path, read_boxes(path, split.sha256.get(path))) for path in split.paths], labels, bad_boxes)


def read_boxes(path: Path, sha256: str | None = None) -> Arrays:
    """What `index_boxes` gives, kept beside the shard (see `tasks.data.formats.shards.index.kept`)."""
    size = path.stat().st_size
    return kept(path, INDEX_SUFFIX, lambda: index_boxes(path), lambda arrays: _fit(arrays, size), sha256)


def _fit(arrays: Arrays, size: int) -> bool:
    """Whether arrays are such as `index_boxes` gives for a shard of so many bytes."""
    images, boxes = len(arrays["names"]), len(arrays["owner"])
    wanted = {
        "file_names": (np.str_, (images,)),
        "sizes": (np.int64, (images, 2)),
        "bbox_xywh_px": (np.float64, (boxes, 4)),
        "crowd": (np.bool_, (boxes,)),
        "areas": (np.float64, (boxes,)),
    }
    alike = all(
        np.issubdtype(arrays[name].dtype, kind) and arrays[name].shape == shape
        for name, (kind, shape) in wanted.items()
    )
    numbers = are_numbers(arrays["owner"], boxes, 0, images) and all(
        are_numbers(arrays[name], count, -INT64, INT64)
        for name, count in (("image_ids", images), ("category_ids", boxes))
    )
    return alike and numbers and files_fit(arrays, size) and bool((arrays["sizes"] > 0).all())


def index_boxes(path: Path) -> Arrays:
    """Read through a shard.

    Returns:
        Of the image files names, offsets, lengths, image_ids, file_names (N,) and sizes (N, 2); of the boxes owner,
        category_ids, crowd, areas (B,) and bbox_xywh_px (B, 4), as in `Annotations`.
    Raises:
        InputError: see `formats.shards.index.walk`; or a `.json` is absent or does not hold an image with its objects.
    """
    samples, images, owner, objects = [], [], [], []
    for position, sample in enumerate(walk(path)):
        entry = _entry(sample)
        samples.append((sample.name.encode(), sample.image.offset_data, sample.image.size))
        images.append(entry)
        objects.extend(entry["annotations"])
        owner.extend([position] * len(entry["annotations"]))
    names, offsets, lengths = zip(*samples, strict=True)

    check_objects(objects, "annotations", path)
    for entry in objects:
        entry["image_id"] = 0  # whose it is, the sample says
    check_annotations(objects, "annotations", path)

    def of_objects(key: str, dtype: type[np.generic]) -> NDArray[Any]:
        return np.array(column(objects, key, "annotations", path), dtype=dtype)

    return {
        "names": np.array(names, dtype=np.bytes_),
        "offsets": np.array(offsets, dtype=np.int64),
        "lengths": np.array(lengths, dtype=np.int64),
        "image_ids": np.array(whole_numbers(images, "id", "images", path), dtype=np.int64),
        "file_names": np.array(texts(images, "file_name", "images", path), dtype=np.str_),
        "sizes": np.array(image_sizes(images, path), dtype=np.int64),
        "owner": np.array(owner, dtype=np.int64),
        "bbox_xywh_px": of_objects("bbox", np.float64).reshape(-1, 4),
        "category_ids": of_objects("category_id", np.int64),
        "crowd": of_objects("iscrowd", np.int64).astype(np.bool_),
        "areas": of_objects("area", np.float64),
    }


def _entry(sample: TarSample) -> dict[str, Any]:
    data = sample.beside("json")
    try:
        entry = parse_json(data) if data is not None else None
    except ValueError:
        entry = None
    if not isinstance(entry, dict) or not isinstance(entry.get("annotations"), list):
        raise InputError(
            f"{sample.path}: the sample {sample.key} has no .json with an image's entry and its annotations; write the"
            " shards again by mode=pack"
        )
    name = PurePosixPath(str(entry.get("file_name")))
    if name.is_absolute() or ".." in name.parts:
        raise InputError(f"{sample.path}: the file_name {str(name)!r} leads elsewhere; it is not to be trusted")
    return entry
