"""Training on small images first and on larger ones later.

The size travels with the key of every image, from the sampler in the training process to the transform in a worker:
persistent workers keep the transform they started with, so nothing else that changes would reach them.

Reference: EfficientNetV2, arXiv:2104.00298, section 4 (stages of equal length, the size grows evenly from one to the
next). Differs: dropout, mixup and augmentation stay as they are; sizes are multiples of 32, the backbone's stride.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.data.loading.sampling import TrainingSampler

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from tasks.data.transforms.growing import GrowingSize


class ProgressiveSampler(TrainingSampler):
    """Positions and seeds of `TrainingSampler`, each with the side of the image; a batch has one side.

    Args:
        sizes: by step.
        steps: of the whole training.
        others: `TrainingSampler`'s.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        seed: int,
        rank: int,
        world_size: int,
        *,
        sizes: GrowingSize,
        steps: int,
        expected: NDArray[np.float64] | None = None,
    ) -> None:
        super().__init__(length, batch_size, seed, rank, world_size, expected=expected)
        self._sizes = sizes
        self._steps = steps

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        before = self.epoch * -(-len(self) // self.batch_size)
        for number, (position, seed) in enumerate(super().__iter__()):
            yield position, seed, self._sizes.at(before + number // self.batch_size, self._steps)
