"""How the page looks at an image, as plain data for `page/view.js`: what `evaluation_transform` does in Python."""

from __future__ import annotations

from typing import Any

from backbone.errors import InputError
from tasks.data.transforms.config import (
    CENTRAL_SHARE,
    DeepLabTransformConfig,
    ImageNetTransformConfig,
    Interpolation,
    SSDTransformConfig,
    TestCrop,
)
from tasks.data.transforms.imagenet import MAX_ASPECT


def view_of(config: Any, size: int) -> dict[str, Any]:
    """The way from an image to the graph's input.

    Args:
        config: a transform's.
        size: side of the input in pixels.
    Returns:
        `kind` (stretch, whole, centre_crop or central_part) and what that needs.
    Raises:
        InputError: the transform is not one of Trident's, or resizes as no page does.
    """
    interpolation = getattr(config, "interpolation", None)
    if isinstance(interpolation, Interpolation) and not interpolation.rounds:
        raise InputError(
            f"transform.interpolation={interpolation.value}: the page of export=web has images of whole numbers, which"
            " this is not; say transform.interpolation=bilinear, or use export=onnx"
        )
    match config:
        case SSDTransformConfig():
            return {"kind": "stretch", "interpolation": config.interpolation.value}
        case DeepLabTransformConfig():
            return {"kind": "whole", "max_side": min(size, config.max_side or size)}
        case ImageNetTransformConfig(test_crop=TestCrop.central_part):
            return {"kind": "central_part", "fraction": CENTRAL_SHARE, "interpolation": config.interpolation.value}
        case ImageNetTransformConfig():
            resize_size = config.resize_size or round(config.image_size / CENTRAL_SHARE)
            way = {"kind": "centre_crop", "resize_size": resize_size, "max_aspect": MAX_ASPECT}
            return way | {"interpolation": config.interpolation.value}
    raise InputError(
        f"transform: {type(config).__name__} is none of Trident's, and the page of export=web cannot do the same; use"
        " export=onnx"
    )
