"""Options of a Mobile DeepLabv3 head. Imports nothing heavy.

Reference: MobileNetV2, arXiv:1801.04381, section 6.3; DeepLabv3, arXiv:1706.05587, section 3.3; DeepLabv3+,
arXiv:1802.02611, section 3.1, for `skip`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from backbone.errors import InputError
from heads.segmentation.config import SegmentationConfig


class Aspp(Enum):
    """Branches of the pyramid: image pooling and a 1x1 convolution, or three atrous ones beside them."""

    reduced = "reduced"
    full = "full"


@dataclass(kw_only=True, slots=True)
class DeepLabV3Config(SegmentationConfig):
    """DeepLabv3 on the context of a MobileNet. The defaults are the paper's and its reference's.

    The atrous rates of the full form follow from the stride of the feature: 6, 12, 18 at 16 and 12, 24, 36 at 8.
    """

    aspp: Aspp = Aspp.reduced
    atrous_rates: list[int] | None = None
    """Rates of the full form, in cells; null: those that follow from the stride."""
    separable: bool = False
    """Whether the atrous convolutions of the full form are depthwise, with 1x1 convolutions behind."""
    refine: bool = False
    """Whether a 3x3 convolution is between projection and classifier, as in torchvision's."""
    skip: str | None = None
    """A finer level, or feature, of the backbone, such as c2 or c3, that is joined to the projection, which is resized
    to it, before the classifier: DeepLabv3+'s decoder, its 3x3 convolutions separable. null: none."""
    skip_channels: int = 48
    """Channels that `skip` is reduced to."""
    dropout: float = 0.1
    """Share of the projected values that training leaves out."""

    def __post_init__(self) -> None:
        SegmentationConfig.__post_init__(self)
        if not 0 <= self.dropout < 1:
            raise InputError(f"head.dropout={self.dropout}: must be in [0, 1)")
        if self.skip_channels < 1:
            raise InputError(f"head.skip_channels={self.skip_channels}: must be at least 1")
        if self.skip is not None and self.refine:
            raise InputError(f"head.skip={self.skip}: has 3x3 convolutions of its own; leave head.refine out")
        if self.atrous_rates is not None and not all(rate >= 1 for rate in self.atrous_rates):
            raise InputError(f"head.atrous_rates={list(self.atrous_rates)}: each must be at least 1")
        if self.atrous_rates is not None and self.aspp is Aspp.reduced:
            raise InputError(f"head.atrous_rates={list(self.atrous_rates)}: are of the full form; say head.aspp=full")
        if self.separable and self.aspp is Aspp.reduced:
            raise InputError("head.separable=true: is about the full form; say head.aspp=full")
