"""A backbone and named heads: one pass through the backbone, whatever the number of heads."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from backbone.features import Features
    from heads.head import Head


class InputScaling(nn.Module):
    """From uint8 images (N, 3, H, W) to what the backbone was trained on: (x / 255 - mean) / std, in float32."""

    factor: Tensor
    offset: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("factor", 1 / (255 * torch.tensor(std).view(3, 1, 1)), persistent=False)
        self.register_buffer("offset", -torch.tensor(mean).view(3, 1, 1) / torch.tensor(std).view(3, 1, 1), False)

    def forward(self, images: Tensor) -> Tensor:
        return torch.addcmul(self.offset, images.to(self.factor.dtype), self.factor)


class VisionModel(nn.Module):
    """Images in, the raw outputs of every head out.

    Args:
        backbone: returns the features that the heads ask for; has `input_mean` and `input_std`.
        heads: by name.
    Attributes:
        canvas: side in pixels of the square that evaluated images are padded to; None: they are not.
        flip: whether images are evaluated mirrored left and right, too.
    """

    canvas: int | None = None
    flip: bool = False

    def __init__(self, backbone: nn.Module, heads: Mapping[str, Head[Any, Any, Any]]) -> None:
        super().__init__()
        self.scaling = InputScaling(backbone.input_mean, backbone.input_std)  # type: ignore[arg-type]
        self.backbone = backbone
        self.heads = nn.ModuleDict(heads)

    def forward(self, images: Tensor) -> dict[str, Any]:
        """Outputs by the head's name, from uint8 RGB images (N, 3, H, W)."""
        return self.forward_heads(self.features(images))

    def features(self, images: Tensor) -> Features:
        """All that the heads look at, from one pass through the backbone."""
        features: Features = self.backbone(self.scaling(images))
        return features

    def forward_heads(
        self, features: Features, rows: Mapping[str, Tensor] | None = None, *, always: Collection[str] = ()
    ) -> dict[str, Any]:
        """Outputs by the head's name.

        Args:
            rows: by the head's name, the images of the batch that it is wanted of; a head that is not named answers
                about all, one without any does not run.
            always: heads that run without an image, too: their batch statistics are those of several processes.
        """
        outputs: dict[str, Any] = {}
        for name, head in self.heads.items():
            wanted = (rows or {}).get(name)
            if wanted is None:
                outputs[name] = head(features)
            elif len(wanted) or name in always:
                taps: list[str] = head.taps  # type: ignore[assignment]
                outputs[name] = head({tap: features[tap][wanted] for tap in taps})
        return outputs

    @contextmanager
    def single_images(
        self, rows: Mapping[str, Tensor], images: int, everywhere: Mapping[str, int] | None = None
    ) -> Iterator[None]:
        """One image is no batch: meanwhile a head that gets one of several normalises by its running statistics.

        They stay as they are, too.

        Args:
            rows: by the head's name, the images of the batch that it is wanted of.
            images: how many the batch has.
            everywhere: by head, images of all processes, where batch statistics are those of all.
        """
        total = everywhere or {}
        alone = [self.heads[name] for name, mine in rows.items() if total.get(name, len(mine)) == 1 < images]
        parts = [part for head in alone for part in head.modules() if isinstance(part, nn.BatchNorm2d)]
        with ExitStack() as after:
            for norm in [part for part in parts if part.training]:
                after.callback(norm.train)
                norm.eval()
            yield
