"""The data of several heads: what batches are made of, and what each head is scored on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from backbone.errors import InputError
from tasks.data.config import MixedConfig
from tasks.data.datasets.mixed import MixedData
from tasks.data.splits import DataSplits, JointSplits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.data.splits import VisionData


class Need(NamedTuple):
    """What a head asks of the data: labels of a kind, and of which of `data.parts` if there are several."""

    kind: str
    part: str


def build_joint(config: Any, heads: Mapping[str, Need], *, need_train: bool = True) -> JointSplits:
    """The splits of one data set with labels for all heads, or of several.

    Args:
        config: of the data.
        heads: by name.

    Raises:
        InputError: one of the data sets does not fit, or has no labels for a head.
    """
    if not isinstance(config, MixedConfig):
        whole, views = _build(config, heads, need_train)
        return JointSplits(train=whole.train, val=whole.val, test=whole.test, heads=views)
    parts: dict[str, DataSplits] = {}
    learners: dict[str, list[str]] = {}
    by_head: dict[str, DataSplits] = {}
    for part, part_config in config.parts.items():
        of_part = {name: need for name, need in heads.items() if need.part == part}
        if of_part:
            try:
                parts[part], views = _build(part_config, of_part, need_train)
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


def _build(config: Any, heads: Mapping[str, Need], need_train: bool) -> tuple[DataSplits, dict[str, DataSplits]]:
    """One data set, and what each head sees of it."""
    kinds = sorted({need.kind for need in heads.values()})
    if hasattr(config, "build_views"):
        whole, views = config.build_views(kinds)
        return whole, {name: views[need.kind] for name, need in heads.items()}
    if len(kinds) > 1:
        raise InputError(
            f"data: {type(config).__name__} gives labels of one kind at a time, and the heads {', '.join(heads)} learn"
            f" {' and '.join(kinds)}; give each kind a part of its own by data=mixed"
        )
    splits: DataSplits = config.build(kinds[0], need_train=need_train)
    return splits, dict.fromkeys(heads, splits)
