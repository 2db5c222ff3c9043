"""Non-maximum suppression by torchvision's compiled operator, without what the package torchvision imports.

`import torchvision` brings torch's compiler, which takes longer to import than torch itself, and whoever waits for one
image's boxes would wait for it.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

ENDINGS = (".so", ".pyd", ".dylib")


def _load() -> None:
    """Make torchvision's operators known to torch, as its own `extension.py` does.

    Raises:
        ImportError: torchvision is not installed, or not with its compiled operators.
    """
    spec = find_spec("torchvision")
    folders = (spec.submodule_search_locations if spec is not None else None) or []
    for file in (file for folder in folders for file in sorted(Path(folder).glob("_C*")) if file.suffix in ENDINGS):
        torch.ops.load_library(file)  # type: ignore[no-untyped-call]
    if not hasattr(torch.ops.torchvision, "nms"):
        raise ImportError("torchvision with its compiled operators is needed: pip install torchvision")


_load()


def nms(boxes_xyxy: Tensor, scores: Tensor, iou: float) -> Tensor:
    """Indices (K,) of the boxes that stay, best first: of two that overlap by more than `iou`, the better does.

    Args:
        boxes_xyxy: (D, 4) corners in any unit.
        scores: (D,) of the same type.
    """
    kept: Tensor = torch.ops.torchvision.nms(boxes_xyxy, scores, iou)
    return kept
