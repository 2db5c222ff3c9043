"""Published figures that stand beside ours, where the model and the data are the published ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from backbone.families.mobilenet_v2 import MobileNetV2Config
from heads.deeplabv3.config import Aspp, DeepLabV3Config
from heads.ssdlite.config import SSDLiteConfig
from tasks.config.run import Task
from tasks.papers.tables import CHECKPOINTS, TABLE_4, TABLE_6, TABLE_7

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.papers.tables import PaperTable

WHOLE = {"coco": 5000, "voc": 1449, "imagenet": 50_000}
"""Validation images of COCO 2017, VOC 2012's segmentation and ImageNet, by the `benchmark` of a configuration."""


class Reference(NamedTuple):
    """A published figure, as a fraction.

    Attributes:
        metric: its name in metrics.json.
        source: where it stands.
        caveat: what differs here; empty if nothing does.
    """

    metric: str
    value: float
    source: str
    caveat: str = ""


def references(
    task: Task | None, *, backbone: Any, head: Any, data: Any, transform: Any, multi_scale: bool, images: int
) -> list[Reference]:
    """What was published for this model on this data; nothing for most configurations.

    Args:
        backbone, head, data, transform: configurations of any kind.
        images: how many were evaluated; figures of a part of the set are said to be that.
    """
    benchmark = getattr(data, "benchmark", "")
    if benchmark not in WHOLE:
        return []
    whole = WHOLE[benchmark]
    caveat = "" if images == whole else f", on the {'other' if images > whole else 'whole'} set of {whole:,} images"
    if task is Task.classification and benchmark == "imagenet":
        found = _classifier(backbone, transform)
    elif task is Task.detection and benchmark == "coco":
        found = _detector(backbone, head, transform)
    elif task is Task.segmentation and benchmark == "voc":
        found = _segmenter(backbone, head, multi_scale)
    else:
        return []
    return [one._replace(caveat=one.caveat + caveat) for one in found]


def _classifier(backbone: Any, transform: Any) -> Iterator[Reference]:
    if not is_reference(backbone):
        return
    if transform.image_size == 224 and backbone.width in (1.0, 1.4):
        name = "MobileNetV2" if backbone.width == 1.0 else "MobileNetV2 (1.4)"
        yield Reference("top1", _score(TABLE_4, name), "paper, Table 4")
    if known := CHECKPOINTS.get(backbone.width, {}).get(transform.image_size):
        yield Reference("top1", known.top_1 / 100, "published checkpoint")


def _detector(backbone: Any, head: Any, transform: Any) -> Iterator[Reference]:
    plain = is_reference(backbone) and backbone.width == 1.0 and isinstance(head, SSDLiteConfig)
    if plain and transform.image_size == 320:
        yield Reference("map", _score(TABLE_6, "MobileNetV2 + SSDLite"), "paper, Table 6", ", on test-dev")


def _segmenter(backbone: Any, head: Any, multi_scale: bool) -> Iterator[Reference]:
    if not isinstance(head, DeepLabV3Config) or getattr(backbone, "width", None) != 1.0:
        return
    stride = backbone.finest_stride
    name = f"V2, OS {stride}{', ASPP' if head.aspp is Aspp.full else ''}{', MF' if multi_scale else ''}"
    if name in {row.model for row in TABLE_7.rows}:
        yield Reference("miou", _score(TABLE_7, name), f"paper, Table 7, {name}", ", pretrained on COCO")


def _score(table: PaperTable, model: str) -> float:
    (row,) = (row for row in table.rows if row.model == model)
    assert row.score is not None
    return row.score / 100


def is_reference(config: Any) -> bool:
    """Whether a backbone has the layers of the published checkpoints, at any width."""
    if not isinstance(config, MobileNetV2Config):
        return False
    return (config.depth, config.fixed_ends, config.finest_stride) == (1.0, False, 32)
