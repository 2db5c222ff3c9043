"""Our layers of the scopes of TF-slim's MobileNets.

Reference: tensorflow/models, research/slim: nets/mobilenet_v1.py, nets/mobilenet/mobilenet_v2.py and mobilenet_v3.py.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from backbone.families.mobilenet_v3 import LARGE, SMALL
from backbone.weights.sources import BLOCKS, BLOCKS_V1, block_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ROW_V1 = re.compile(r"Conv2d_(\d+)(_depthwise|_pointwise)?")
BLOCK = re.compile(r"expanded_conv(?:_(\d+))?/(expand|depthwise|project|squeeze_excite/Conv(?:_1)?)")
PARTS = {"squeeze_excite/Conv": "squeeze.reduce", "squeeze_excite/Conv_1": "squeeze.expand"}


class Net(NamedTuple):
    """One of the families, in a file.

    Attributes:
        scope: beginning of its variables.
        family: option of the group `backbone`.
        blocks: our names of its blocks in their order.
    """

    scope: str
    family: str
    blocks: Sequence[str]

    def place(self, scope: str) -> str | None:
        """Our layer of a scope of variables; None: it is none of the backbone's."""
        if not scope.startswith(self.scope):
            return None
        inner = scope.removeprefix(self.scope)
        if self.family == "mobilenet_v1":
            return self._place_v1(inner)
        if inner in ENDS:
            return ENDS[inner]
        found = BLOCK.fullmatch(inner)
        if found is None or int(found[1] or 0) >= len(self.blocks):
            return None
        return f"{self.blocks[int(found[1] or 0)]}.{PARTS.get(found[2], found[2])}"

    def _place_v1(self, inner: str) -> str | None:
        found = ROW_V1.fullmatch(inner)
        if found is None or int(found[1]) > len(self.blocks):
            return None
        row, part = int(found[1]), found[2]
        if not row or part is None:
            return "stem" if not row and part is None else None
        return f"{self.blocks[row - 1]}.{'depthwise' if part == '_depthwise' else 'project'}"


ENDS = {"Conv": "stem", "Conv_1": "last"}


def net_of(names: Iterable[str], prefix: str = "") -> Net | None:
    """The family whose first layer is among the names of variables; None: none.

    Args:
        prefix: before all names of the backbone.
    """
    known = set(names)
    if f"{prefix}MobilenetV1/Conv2d_0/weights" in known:
        return Net("MobilenetV1/", "mobilenet_v1", BLOCKS_V1)
    if f"{prefix}MobilenetV2/Conv/weights" in known:
        return Net("MobilenetV2/", "mobilenet_v2", BLOCKS)
    if f"{prefix}MobilenetV3/Conv/weights" in known:
        large = block_names(LARGE.stages)
        is_large = f"{prefix}MobilenetV3/expanded_conv_{len(large) - 1}/project/weights" in known
        family, blocks = ("large", large) if is_large else ("small", block_names(SMALL.stages))
        return Net("MobilenetV3/", f"mobilenet_v3_{family}", blocks)
    return None
