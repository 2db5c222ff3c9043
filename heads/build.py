"""Construction of a head from its configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from heads.deeplabv3.config import DeepLabV3Config
from heads.deeplabv3.head import DeepLabV3
from heads.linear.config import LinearConfig
from heads.linear.head import Linear
from heads.lraspp.config import LRASPPConfig
from heads.lraspp.head import LRASPP
from heads.ssdlite.config import SSDLiteConfig
from heads.ssdlite.head import SSDLite

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backbone.features import FeatureSpec
    from heads.head import Head


def build_head(
    config: Any, specs: Mapping[str, FeatureSpec], *, num_classes: int, image_size: int
) -> Head[Any, Any, Any]:
    """Build the head that `config` describes on a backbone that offers `specs`.

    Args:
        config: ours, or another's, whose own `build` is called with the same arguments.
        image_size: side of the square images in pixels; classifiers and segmentation heads take any.
    Raises:
        InputError: a tap is not among the specs, or the classes do not fit; the message says what would.
    """
    match config:
        case LinearConfig():
            return Linear(config, specs, num_classes=num_classes)
        case SSDLiteConfig():
            return SSDLite(config, specs, num_classes=num_classes, image_size=image_size)
        case DeepLabV3Config():
            return DeepLabV3(config, specs, num_classes=num_classes)
        case LRASPPConfig():
            return LRASPP(config, specs, num_classes=num_classes)
    head: Head[Any, Any, Any] = config.build(specs, num_classes=num_classes, image_size=image_size)
    return head
