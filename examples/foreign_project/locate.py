"""Where is the bright square? A head on three features of the backbone, and a Lightning task around both.

Shapes: N images, H W pixels.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from backbone import MobileNetV2

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backbone import Features, FeatureSpec

TAPS = ("stage3", "stage5", "last")
SQUARE = 0.25
"""Side of the square as a fraction of the image."""


class Squares(Dataset[tuple[Tensor, Tensor]]):
    """Noise with one bright square, and the centre of it as fractions of the image: x, y."""

    def __init__(self, count: int, size: int) -> None:
        self.count = count
        self.size = size

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if not 0 <= index < self.count:
            raise IndexError(index)
        random = torch.Generator().manual_seed(index)
        image = 0.3 * torch.randn(3, self.size, self.size, generator=random)
        side = int(SQUARE * self.size)
        x, y = torch.randint(self.size - side, (2,), generator=random).tolist()
        image[:, y : y + side, x : x + side] += 1.5
        return image, (torch.tensor([x, y]) + side / 2) / self.size


class CentreOfMass(nn.Module):
    """A map of weights from every feature; the answer is the mean place of the cells under the softmax of their sum."""

    def __init__(self, specs: Mapping[str, FeatureSpec]) -> None:
        super().__init__()
        self.weights = nn.ModuleDict({tap.replace(".", "_"): nn.Conv2d(specs[tap].channels, 1, 1) for tap in TAPS})

    def forward(self, features: Features) -> Tensor:
        """Features by name, each (N, C, H, W), to (N, 2): x, y."""
        finest = features[TAPS[0]].shape[-2:]
        maps = [weigh(features[tap]) for tap, weigh in zip(TAPS, self.weights.values(), strict=True)]
        total = torch.stack([F.interpolate(one, finest, mode="bilinear") for one in maps]).sum(dim=0)
        weights = total.flatten(1).softmax(dim=1).view(-1, *finest)
        y, x = ((torch.arange(cells, device=total.device) + 0.5) / cells for cells in finest)
        return torch.stack([(weights.sum(dim=1) * x).sum(dim=1), (weights.sum(dim=2) * y).sum(dim=1)], dim=1)


class Locate(L.LightningModule):
    """Learns to point at the square."""

    def __init__(self, width: float) -> None:
        super().__init__()
        self.backbone = MobileNetV2(width=width, features=TAPS)
        self.head = CentreOfMass(self.backbone.specs)
        self.losses: list[float] = []

    def forward(self, images: Tensor) -> Tensor:
        centres: Tensor = self.head(self.backbone(images))
        return centres

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        images, centres = batch
        loss = F.l1_loss(self(images), centres)
        self.losses.append(loss.item())
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=2e-3)


def train(steps: int, size: int, width: float) -> Locate:
    """Train for `steps` steps of 16 images of `size` pixels; nothing is written."""
    L.seed_everything(0, verbose=False)
    task = Locate(width)
    trainer = L.Trainer(
        max_steps=steps,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(task, DataLoader(Squares(16 * steps, size), batch_size=16))
    return task


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--size", type=int, default=96, help="of the images, in pixels")
    parser.add_argument("--width", type=float, default=0.35)
    options = parser.parse_args()
    losses = train(options.steps, options.size, options.width).losses
    tenth = max(1, len(losses) // 10)
    first, last = (sum(part) / tenth for part in (losses[:tenth], losses[-tenth:]))
    print(f"distance from the centre, as a fraction of the image: {first:.3f} at first, {last:.3f} at last")


if __name__ == "__main__":
    main()
