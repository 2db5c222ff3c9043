"""Training on small images first and on larger ones later.

The size travels with the key of every image, from the sampler in the training process to the transform in a worker:
persistent workers keep the transform they started with, so nothing else that changes would reach them.

Reference: EfficientNetV2, arXiv:2104.00298, section 4 (stages of equal length, the size grows evenly from one to the
next). Differs: dropout, mixup and augmentation stay as they are; sizes are multiples of 32, the backbone's stride.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.data.sampling import TrainingSampler

if TYPE_CHECKING:
    from collections.abc import Iterator

STRIDE = 32


@dataclass(frozen=True, slots=True)
class GrowingSize:
    """Side of the images at every step of a training.

    Args:
        start: in the first stage, a multiple of 32.
        end: in the last stage.
        stages: of equal length; at least 2.
    """

    start: int
    end: int
    stages: int

    def at(self, step: int, steps: int) -> int:
        """Side in pixels at `step`, 0 .. steps - 1; beyond that the last."""
        stage = min(self.stages - 1, step * self.stages // steps)
        if stage == self.stages - 1:
            return self.end
        grown = self.start + (self.end - self.start) * stage // (self.stages - 1)
        return grown // STRIDE * STRIDE


class ProgressiveSampler(TrainingSampler):
    """Positions and seeds of `TrainingSampler`, each with the side of the image; a batch has one side.

    Args:
        sizes: by step.
        steps: of the whole training.
        others: `TrainingSampler`'s.
    """

    def __init__(
        self, length: int, batch_size: int, seed: int, rank: int, ranks: int, *, sizes: GrowingSize, steps: int
    ) -> None:
        super().__init__(length, batch_size, seed, rank, ranks)
        self._sizes = sizes
        self._steps = steps

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        before = self.epoch * -(-len(self) // self.batch_size)
        for number, (position, seed) in enumerate(super().__iter__()):
            yield position, seed, self._sizes.at(before + number // self.batch_size, self._steps)
