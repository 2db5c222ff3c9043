"""Image sizes that grow during training."""

from __future__ import annotations

from dataclasses import dataclass

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
