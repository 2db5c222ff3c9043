"""From a data set's configuration to its splits, for one head or for several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from backbone.errors import InputError
from tasks.data.config import (
    CocoConfig,
    FolderConfig,
    ImageNetConfig,
    MasksConfig,
    MixedConfig,
    ShapesConfig,
    ShardsConfig,
    SplitConfig,
    VocConfig,
    YoloConfig,
)
from tasks.data.datasets.mixed import MixedData
from tasks.data.division import DivisionFiles, divide
from tasks.data.formats import image_folder, imagenet, mask_folder
from tasks.data.formats.coco import boxes as coco_boxes
from tasks.data.formats.coco import masks as coco_masks
from tasks.data.formats.shapes import all_labels as shapes_with_all_labels
from tasks.data.formats.shapes import splits as shapes
from tasks.data.formats.shards import boxes as shard_boxes
from tasks.data.formats.shards import classes as shard_classes
from tasks.data.formats.voc import boxes as voc_boxes
from tasks.data.formats.voc import masks as voc_masks
from tasks.data.formats.yolo import splits as yolo
from tasks.data.splits import DataSplits, JointSplits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tasks.data.splits import VisionData


@runtime_checkable
class PluggedData(Protocol):
    """A data set's configuration from outside, which builds itself.

    One with labels of several kinds also has `build_views(kinds)`: the splits with all labels, and by kind what a head
    of that kind is scored on.
    """

    def build(self, kind: str, *, need_train: bool = True) -> DataSplits:
        """See `build_splits`."""
        ...


READERS: dict[type, dict[str, Callable[[Any, bool], DataSplits]]] = {
    ShapesConfig: {
        "classification": lambda config, _: shapes.build_splits(config, "classification"),
        "detection": lambda config, _: shapes.build_splits(config, "detection"),
        "segmentation": lambda config, _: shapes.build_splits(config, "segmentation"),
    },
    CocoConfig: {
        "detection": lambda config, need: coco_boxes.build_splits(config, need_train=need),
        "segmentation": lambda config, _: coco_masks.build_splits(config),
    },
    VocConfig: {
        "detection": lambda config, need: voc_boxes.build_splits(config, need_train=need),
        "segmentation": lambda config, _: voc_masks.build_splits(config),
    },
    YoloConfig: {
        "detection": lambda config, need: yolo.build_boxes(config, need_train=need),
        "segmentation": lambda config, _: yolo.build_masks(config),
    },
    MasksConfig: {"segmentation": lambda config, _: mask_folder.build_splits(config)},
    FolderConfig: {"classification": lambda config, need: image_folder.build_splits(config, need_train=need)},
    ImageNetConfig: {"classification": lambda config, need: imagenet.build_splits(config, need_train=need)},
    ShardsConfig: {
        "classification": lambda config, need: shard_classes.build_splits(config, need_train=need),
        "detection": lambda config, need: shard_boxes.build_splits(config, need_train=need),
    },
}
"""By configuration and kind of label; the second argument says whether the training split is needed."""


def build_splits(config: Any, kind: str, *, need_train: bool = True, files: DivisionFiles | None = None) -> DataSplits:
    """The splits of one data set, checked, as far as that goes without reading the images.

    Data are downloaded or drawn first where the configuration says so.

    Args:
        config: one of ours, or `PluggedData`.
        kind: what the images are labelled for: the task's name.
        need_train: False allows the training split to be absent, where the reader can do without; it is empty then.
        files: of the division where `data.split` says that there is one; None: it is made and forgotten.

    Raises:
        InputError: something about the data does not fit; the message names the file and the remedy.
    """
    if isinstance(config, PluggedData):
        return config.build(kind, need_train=need_train)
    if isinstance(config, MixedConfig):
        raise InputError(f"data=mixed: needs task=multitask, not task={kind}")
    known = next((one for one in READERS if isinstance(config, one)), None)
    if known is None:
        raise InputError(f"data: {type(config).__name__} is none of Trident's and has no build(kind, need_train=...)")
    if kind not in READERS[known]:
        name, kinds = known.__name__.removesuffix("Config").lower(), " and ".join(READERS[known])
        raise InputError(f"task={kind} data={name}: this data has labels for {kinds} only")
    is_divided = isinstance(config, SplitConfig) and config.split is not None
    splits = READERS[known][kind](config, need_train or is_divided)
    if is_divided:
        return divide(splits, config, str(getattr(config, "root", "")), files or DivisionFiles())
    return splits


class Need(NamedTuple):
    """What a head asks of the data: labels of a kind, and of which of `data.parts` if there are several."""

    kind: str
    part: str


def build_joint(
    config: Any, heads: Mapping[str, Need], *, need_train: bool = True, files: DivisionFiles | None = None
) -> JointSplits:
    """The splits of one data set with labels for all heads, or of several.

    Args:
        config: as in `build_splits`, or of several data sets.
        heads: by name.
        need_train, files: see `build_splits`.

    Raises:
        InputError: one of the data sets does not fit, or has no labels for a head.
    """
    if not isinstance(config, MixedConfig):
        whole, views = _build_for_heads(config, heads, need_train, files)
        return JointSplits(train=whole.train, val=whole.val, test=whole.test, heads=views)
    parts: dict[str, DataSplits] = {}
    learners: dict[str, list[str]] = {}
    by_head: dict[str, DataSplits] = {}
    for part, part_config in config.parts.items():
        of_part = {name: need for name, need in heads.items() if need.part == part}
        if of_part:
            try:
                parts[part], views = _build_for_heads(
                    part_config, of_part, need_train, None if files is None else files.of_part(part)
                )
            except InputError as error:
                raise InputError(str(error).replace("data.", f"data.parts.{part}.")) from error
            learners[part] = list(of_part)
            by_head |= views

    def mixed(splits: Mapping[str, VisionData]) -> MixedData:
        return MixedData(splits, {part: learners[part] for part in splits})

    tests = {part: splits.test for part, splits in parts.items() if splits.test is not None}
    return JointSplits(
        train=mixed({part: splits.train for part, splits in parts.items()}),
        val=mixed({part: splits.val for part, splits in parts.items()}),
        test=mixed(tests) if tests else None,
        heads=by_head,
    )


def _build_for_heads(
    config: Any, heads: Mapping[str, Need], need_train: bool, files: DivisionFiles | None
) -> tuple[DataSplits, dict[str, DataSplits]]:
    """One data set, and what each head sees of it."""
    kinds = sorted({need.kind for need in heads.values()})
    if isinstance(config, ShapesConfig) or hasattr(config, "build_views"):
        own = getattr(config, "build_views", None)
        whole, views = own(kinds) if own else shapes_with_all_labels.build_views(config, kinds)
        return whole, {name: views[need.kind] for name, need in heads.items()}
    if len(kinds) > 1:
        raise InputError(
            f"data: {type(config).__name__} gives labels of one kind at a time, and the heads {', '.join(heads)} learn"
            f" {' and '.join(kinds)}; give each kind a part of its own by data=mixed"
        )
    splits = build_splits(config, kinds[0], need_train=need_train, files=files)
    return splits, dict.fromkeys(heads, splits)
