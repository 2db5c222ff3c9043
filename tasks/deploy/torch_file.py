"""The model in PyTorch as a file, so that a process of its own can be timed and its memory measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from tasks.deploy.endings import Ending
    from tasks.model import VisionModel

LIBRARY = "torch"


def save(path: Path, model: VisionModel, endings: dict[str, Ending], size: int) -> None:
    """Write the model with its endings."""
    import torch

    class Plain(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            self.endings = torch.nn.ModuleDict(endings)

        def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
            outputs = self.model(image.permute(0, 3, 1, 2))
            return [out for name, ending in self.endings.items() for out in ending(outputs[name])]

    with torch.no_grad():
        example = torch.full((1, size, size, 3), 128, dtype=torch.uint8)
        torch.export.save(torch.export.export(Plain().eval(), (example,)), path)


class Runtime:
    """PyTorch on the CPU. See `toolchains.Runtime`."""

    def __init__(self, path: str, names: Sequence[str], threads: int | None = None) -> None:
        import torch

        if threads is not None:
            torch.set_num_threads(threads)
        self.module: Any = torch.export.load(path).module()

    def __call__(self, image: NDArray[np.uint8]) -> list[NDArray[Any]]:
        import torch

        with torch.inference_mode():
            return [out.numpy() for out in self.module(torch.from_numpy(image))]
