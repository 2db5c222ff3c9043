"""An exported file in its own runtime, behind the interface of a model: evaluation and mode=predict cannot tell.

Shapes: N images, H W pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from backbone.errors import InputError
from tasks.config.export import Format
from tasks.deploy.endings import Ending, Seen, reading
from tasks.deploy.lacking import lacking
from tasks.deploy.toolchains import tools

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tasks.deploy.header import ArtifactHeader
    from tasks.deploy.toolchains import Runtime
    from tasks.model import VisionModel

    Pixels = NDArray[np.uint8]


class FixedSize(nn.Module):
    """What `VisionModel` is to the rest, around something that takes one image of one size at a time.

    Args:
        run: from an image (1, H, W, 3) uint8 to what all endings give out, one after the other.
        endings: by head; they read what comes out.
        size: side of the input in pixels. Smaller images are padded below and on the right.
        padding: RGB grey levels for that.
        what: is told in errors.
    """

    def __init__(
        self, run: Runtime, endings: Mapping[str, Ending], *, size: int, padding: Sequence[int], what: str
    ) -> None:
        super().__init__()
        self.run = run
        self.heads = nn.ModuleDict(endings)
        self.endings = dict(endings)
        self.size = size
        self.padding = tuple(padding)
        self.what = what

    def forward(self, images: Tensor) -> dict[str, Seen]:
        """As `VisionModel`, with what left the graph in place of raw outputs."""
        return self.forward_heads(self.features(images))

    def features(self, images: Tensor) -> dict[str, Seen]:
        """What left the graph, by head, for uint8 RGB images (N, 3, H, W).

        Raises:
            InputError: the images are larger than the input.
        """
        views = images.permute(0, 2, 3, 1).cpu().numpy()
        rows = [self.run(fitted(view, self.size, self.padding, self.what)[None]) for view in views]
        columns = [torch.from_numpy(np.concatenate(parts)) for parts in zip(*rows, strict=True)]
        content, found, start = (int(images.shape[2]), int(images.shape[3])), {}, 0
        for name, ending in self.endings.items():
            end = start + len(ending.outputs)
            found[name] = Seen(tuple(columns[start:end]), content, (self.size, self.size))
            start = end
        return found

    def forward_heads(self, features: Mapping[str, Seen], rows: Mapping[str, Tensor] | None = None) -> dict[str, Seen]:
        """Select of these the images that are wanted of each head; see `VisionModel.forward_heads`."""
        wanted = rows or {}
        return {
            name: seen._replace(tensors=tuple(tensor[wanted[name]] for tensor in seen.tensors))
            if name in wanted
            else seen
            for name, seen in features.items()
            if name not in wanted or len(wanted[name])
        }


def fitted(view: NDArray[Any], size: int, padding: Sequence[int], what: str) -> Pixels:
    """An image (H, W, 3) as the upper left part of a square; one that was resized in floating point is rounded.

    Raises:
        InputError: it is larger.
    """
    height, width = view.shape[:2]
    if view.dtype != np.uint8:
        view = np.rint(view).astype(np.uint8)
    if (height, width) == (size, size):
        return np.ascontiguousarray(view)
    if max(height, width) > size:
        raise InputError(
            f"{what}: takes images of {size} x {size} pixels, and was given one of {width} x {height}; leave"
            " transform.* as they are in the file, or export it for that size"
        )
    square = np.empty((size, size, 3), np.uint8)
    square[:] = padding
    square[:height, :width] = view
    return square


class TorchRun:
    """The model as it was trained, as a runtime.

    Args:
        endings: by head, of an `ExportGraph`.
    """

    def __init__(self, model: VisionModel, endings: Mapping[str, Ending]) -> None:
        self.model = model.cpu().eval()
        self.endings = endings

    def __call__(self, image: Pixels) -> list[NDArray[Any]]:
        with torch.inference_mode():
            outputs = self.model(torch.from_numpy(image).permute(0, 3, 1, 2))
            return [out.numpy() for name, ending in self.endings.items() for out in ending(outputs[name])]


def open_artifact(path: str, header: ArtifactHeader, threads: int | None = None) -> FixedSize:
    """The file of `header` in its runtime.

    Raises:
        InputError: the runtime is not installed or refuses the file, or the header does not fit what is in the file.
    """
    what = f"artifact={path}"
    if header.runtime not in Format.__members__:
        raise InputError(f"{what}: is for runtime {header.runtime}; this version knows {', '.join(Format.__members__)}")
    try:
        endings = {
            name: reading(head["kind"], head["outputs"], head["settings"]) for name, head in header.heads.items()
        }
    except (KeyError, TypeError) as error:
        raise InputError(f"{what}: its header does not fit, in heads ({error}); export it again") from error
    except InputError as error:
        raise InputError(f"{what}: {error}; export it again") from error
    names = [f"{name}.{output}" for name, ending in endings.items() for output in ending.outputs]
    module = tools(Format[header.runtime], what=what, to_write=False)
    try:
        runtime = module.Runtime(path, names, threads)
        given = runtime(np.full((1, header.size, header.size, 3), 128, np.uint8))
    except Exception as error:  # every runtime has its own kinds
        if (operator := lacking(error)) is not None:
            raise InputError(
                f"{what}: {header.runtime}, as it is installed here, lacks the operator {operator}; export the model"
                " again with this version, or install the one that it was exported with"
            ) from error
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{what}: {header.runtime} cannot run it ({reason}); its header does not fit the file, or the file is of"
            " another version: export it again with the versions that are installed here"
        ) from error
    _check(what, header, endings, given)
    return FixedSize(runtime, endings, size=header.size, padding=header.padding, what=what)


def _check(what: str, header: ArtifactHeader, endings: Mapping[str, Ending], given: Sequence[NDArray[Any]]) -> None:
    """See that what comes out has the classes that the header names."""
    start = 0
    for name, ending in endings.items():
        first = given[start]
        start += len(ending.outputs)
        classes = {"scores": -1, "logits": 1}.get(ending.outputs[0])
        wanted = len(header.labels[name]["names"])
        if classes is not None and first.shape[classes] != wanted:
            raise InputError(
                f"{what}: its header does not fit: it names {wanted} classes for head {name}, and the file gives"
                f" {first.shape[classes]}; export it again"
            )
