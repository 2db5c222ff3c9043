"""The module that is exported: one image of a fixed size in, what every head's ending gives out."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from backbone.errors import InputError
from tasks.deploy.endings import Ending, ending_of
from tasks.deploy.folding import absorb_scaling, folded

if TYPE_CHECKING:
    from tasks.model import VisionModel


class ExportGraph(nn.Module):
    """Answers of all heads about an image (1, H, W, 3) uint8 RGB. Scaling is inside.

    Args:
        model: stays as it is; a folded copy is used.
        size: side of the input in pixels.
        integers: see `absorb_scaling`; for 8-bit graphs.
        mask: segmentation ends at the label map.
        few: detection ends behind suppression.
        dynamic: it takes any number of images.
    Attributes:
        names: of what comes out, `head.output` for each, before suppression is built behind it.
        outputs: of what comes out of the file.
    """

    def __init__(
        self, model: VisionModel, size: int, *, integers: bool = False, mask: bool = False, few: bool = False,
        dynamic: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.size = size
        self.in_halves = False
        self.model = folded(model)
        self.centre = absorb_scaling(self.model, integers=integers)
        heads: dict[str, Any] = dict(self.model.heads.items())
        endings = {name: ending_of(name, head, size, mask=mask, few=few) for name, head in heads.items()}
        self.endings = nn.ModuleDict(endings)
        self.dynamic = dynamic
        self.outputs = [f"{name}.{output}" for name, ending in endings.items() for output in ending.outputs]
        self.names = [f"{name}.{output}" for name, ending in self.endings.items() for output in _of(ending).raw.outputs]

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        x = self.centre(image).permute(0, 3, 1, 2)
        outputs = self.model(x.half() if self.in_halves else x)
        return tuple(tensor for name, ending in self.endings.items() for tensor in _of(ending).raw(outputs[name]))

    def halved(self) -> ExportGraph:
        """A copy that computes in 16 bits, but for the endings.

        Raises:
            InputError: the backbone is not ours.
        """
        if isinstance(self.centre, nn.Identity):
            raise InputError(
                "export.precision=fp16: is for a MobileNet; say export.precision=fp32 for another backbone"
            )
        half = copy.deepcopy(self)
        half.in_halves = True
        for parameter in half.model.parameters():
            parameter.data = parameter.data.half()
        return half

    def example(self) -> Tensor:
        """An input, grey."""
        return torch.full((1, self.size, self.size, 3), 128, dtype=torch.uint8)

    def described(self) -> dict[str, dict[str, Any]]:
        """By head: kind, names of outputs, settings. Plain data."""
        return {
            name: {"kind": _of(e).kind, "outputs": list(_of(e).outputs), "settings": _of(e).settings}
            for name, e in self.endings.items()
        }


def _of(module: nn.Module) -> Ending:
    assert isinstance(module, Ending)
    return module
