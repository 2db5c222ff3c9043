"""Names of the classes of public weights, which do not name them: told by their number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backbone.errors import InputError
from heads.kinds import Kind
from tasks.data.formats.voc.masks import VOC_CLASSES

if TYPE_CHECKING:
    from collections.abc import Sequence


def names_of(source: str, kind: Kind, count: int | None, told: Sequence[str] | None = None) -> tuple[str, ...] | None:
    """Names of the `count` classes of public weights, in their order; None: they are not known.

    Those of ImageNet, of VOC, and of COCO by its ids 1 .. 90, of which ten are no class.

    Args:
        told: as the user names them.
    Raises:
        InputError: the user names more or fewer.
    """
    if told is not None:
        if count is not None and len(told) != count:
            raise InputError(
                f"predict.classes=[{', '.join(told)}]: names {len(told)} classes, and checkpoint={source} has {count}"
            )
        return tuple(told)
    if kind is Kind.classification:
        from torchvision.models import MobileNet_V2_Weights

        names = tuple(MobileNet_V2_Weights.IMAGENET1K_V1.meta["categories"])
    elif kind is Kind.segmentation:
        names = tuple(VOC_CLASSES)
    elif count == len(VOC_CLASSES) - 1:
        names = tuple(VOC_CLASSES[1:])
    else:
        from torchvision.models.detection import SSDLite320_MobileNet_V3_Large_Weights

        names = tuple(SSDLite320_MobileNet_V3_Large_Weights.COCO_V1.meta["categories"][1:])
    return names if len(names) == count else None
