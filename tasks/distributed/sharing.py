"""One step, its images spread over several processes: losses whose mean over the processes is that of all images.

Every process means over its own part of a batch: over its matched boxes, its pixels that are not void, its labelled
images. These parts differ, so the mean of the means is not the mean. Each is weighted by its share here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from backbone.errors import InputError
from heads.head import Losses
from tasks.distributed import group

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from heads.structures import Batch
    from tasks.data.splits import DataSplits, JointSplits


def check_size(splits: DataSplits | JointSplits, *, training: bool) -> None:
    """That there is an image for every process.

    Raises:
        InputError: a split has fewer.
    """
    world_size = group.place().world_size
    for name in ("train", "val", "test") if training else ("val", "test"):
        split = getattr(splits, name)
        if split is not None and len(split) < world_size:
            raise InputError(
                f"trainer.devices: there are {world_size} processes, and the {len(split)} images of the split {name} do"
                " not"
                f" give each of them one; start at most {len(split)}"
            )


def labelled(batch: Batch, heads: Sequence[str]) -> dict[str, int]:
    """Images of all processes that each head has labels for in this step."""
    mine = torch.tensor([_images(batch, name) for name in heads])
    return dict(zip(heads, group.total(mine).tolist(), strict=True))


def weighted(
    parts: Mapping[str, Mapping[str, Tensor]], batch: Batch, heads: Sequence[str]
) -> dict[str, dict[str, Tensor]]:
    """Losses by head and name, times this process's share of what they are means over, times the number of processes.

    Args:
        parts: of the heads that ran here; a plain dictionary is a mean over the images that are labelled for the head.
        heads: all that learn, in one order in all processes.
    Returns:
        Those of `parts`, and for a head that ran elsewhere only an empty dictionary.
    """
    device = batch.images.device
    amounts = {
        name: losses.normalizer if isinstance(losses, Losses) else _images(batch, name)
        for name, losses in parts.items()
    }
    mine = torch.stack(
        [torch.as_tensor(amounts.get(name, 0), dtype=torch.float64, device=device).detach() for name in heads]
    )
    every = group.total(mine)
    shares = torch.where(mine > 0, mine, 1) * group.place().world_size / torch.where(every > 0, every, 1)
    out: dict[str, dict[str, Tensor]] = {}
    for name, share, amount in zip(heads, shares, every, strict=True):
        if name in parts:
            out[name] = {part: value * share.to(value.dtype) for part, value in parts[name].items()}
        elif amount > 0:
            out[name] = {}
    return out


def _images(batch: Batch, head: str) -> int:
    """Those of this process that are labelled for a head."""
    return len(batch.rows[head]) if head in batch.rows else len(batch.images)


def merged(parts: Mapping[str, Mapping[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
    """Means of weighted losses over all processes, by head and name; for logs."""
    sums: dict[str, dict[str, float]] = {}
    plain = {name: {part: float(value.detach()) for part, value in losses.items()} for name, losses in parts.items()}
    everyone = group.all_gather(plain)
    for theirs in everyone:
        for name, losses in theirs.items():
            for part, value in losses.items():
                sums.setdefault(name, {}).setdefault(part, 0.0)
                sums[name][part] += value / len(everyone)
    return {name: {part: torch.tensor(value) for part, value in losses.items()} for name, losses in sums.items()}
