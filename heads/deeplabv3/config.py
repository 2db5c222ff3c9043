"""Options of a Mobile DeepLabv3 head. Imports nothing heavy.

Reference: MobileNetV2, arXiv:1801.04381, section 6.3; DeepLabv3, arXiv:1706.05587, section 3.3.
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
    dropout: float = 0.1
    """Share of the projected values that training leaves out."""

    def __post_init__(self) -> None:
        SegmentationConfig.__post_init__(self)
        if not 0 <= self.dropout < 1:
            raise InputError(f"head.dropout={self.dropout}: must be in [0, 1)")
