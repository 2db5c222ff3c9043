"""Options of a Lite R-ASPP head. Imports nothing heavy.

Reference: MobileNetV3, arXiv:1905.02244, section 6.4 and Figure 10, as its code for DeepLab builds it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from heads.segmentation.config import SegmentationConfig


class Pool(Enum):
    """What the gate sees: means over wide windows (the reference), or over the whole map (torchvision)."""

    window = "window"
    whole = "whole"


class Gate(Enum):
    """Function of the gate: that of the reference's published weights, or that of the paper's figure (torchvision)."""

    hard_sigmoid = "hard_sigmoid"
    sigmoid = "sigmoid"


@dataclass(kw_only=True, slots=True)
class LRASPPConfig(SegmentationConfig):
    """Lite R-ASPP on two levels of a MobileNet. The defaults are the reference's."""

    channels: int = 128
    """Filters of the head, at any width of the backbone."""
    low_tap: str = "c3.depthwise"
    """The finer level, or feature, that a classifier of its own looks at."""
    pool: Pool = Pool.window
    gate: Gate = Gate.hard_sigmoid
    gate_bias: bool = True
