"""Images of a search: those that are learned from, and those held out of the training split to compare proposals on."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from backbone.errors import InputError
from tasks.data.loading.sampling import TrainingSampler, TransformedData

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from heads.structures import Batch
    from tasks.data.sample import Sample, Transform
    from tasks.data.splits import Images


class HeldOut:
    """Some images of a split. What else the split knows, it tells as before; annotations are of these images alone."""

    def __init__(self, source: Any, positions: Sequence[int]) -> None:
        self._source = source
        self._positions = list(positions)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def ground_truth(self) -> dict[str, Any]:
        """See `DetectionData.ground_truth`."""
        truth: dict[str, Any] = self._source.ground_truth()
        images = [truth["images"][position] for position in self._positions]
        ids = {image["id"] for image in images}
        return truth | {
            "images": images,
            "annotations": [one for one in truth["annotations"] if one["image_id"] in ids],
        }


def divided(images: int, share: float, most: int, seed: int) -> tuple[list[int], list[int]]:
    """Positions to learn from and positions held out, by chance, each in order.

    Raises:
        InputError: there are too few images.
    """
    held = min(max(1, round(images * share)), most)
    if images - held < 2:
        raise InputError(f"search.hold_out={share}: of {images} training images too few are left to learn from")
    order = np.random.default_rng([seed, images]).permutation(images)
    return sorted(order[held:].tolist()), sorted(order[:held].tolist())


def batches(
    source: Images,
    transform: Transform,
    collate: Callable[[Sequence[Sample]], Batch],
    batch_size: int,
    positions: Sequence[int] | None = None,
) -> Iterator[Batch]:
    """Batches of a split once through, or of some of its images."""
    images = TransformedData(source, transform)
    chosen = range(len(images)) if positions is None else positions
    for start in range(0, len(chosen), batch_size):
        yield collate([images[position] for position in chosen[start : start + batch_size]])


class SearchData:
    """Batches, the same for all proposals of an iteration, so that only the networks differ.

    Args:
        source: the training split.
        learned, held: positions in it.
        train, evaluate: transforms.
        collate: samples to a batch.
        same_size: whether images to evaluate have one size; otherwise they come one by one.
    """

    def __init__(
        self,
        source: Images,
        learned: Sequence[int],
        held: Sequence[int],
        *,
        train: Transform,
        evaluate: Transform,
        collate: Callable[[Sequence[Sample]], Batch],
        batch_size: int,
        seed: int,
        same_size: bool = True,
    ) -> None:
        self._train = TransformedData(source, train)
        self._source, self._evaluate = source, evaluate
        self._learned, self._held = list(learned), list(held)
        self._collate = collate
        self._batch_size = batch_size
        self._seed = seed
        self._same_size = same_size
        self._kept: tuple[int, list[Batch]] = (-1, [])
        self._evaluated: list[Batch] = []

    def training(self, iteration: int, steps: int) -> Iterator[Batch]:
        """Batches of an iteration; they stay in memory until the next asks for its own."""
        if self._kept[0] != iteration:
            self._kept = (iteration, [])
        kept = self._kept[1]
        yield from kept[:steps]
        for batch in islice(self.stream(self._learned, iteration), len(kept), steps):
            kept.append(batch)
            yield batch

    @property
    def learned(self) -> list[int]:
        """Positions that are learned from while networks are compared."""
        return list(self._learned)

    def stream(
        self, positions: Sequence[int] | None = None, iteration: int = 0, *, skipped: int = 0
    ) -> Iterator[Batch]:
        """Batches without end over the positions, all images of the split where there are none.

        Args:
            skipped: batches at the beginning whose images are not read.
        """
        chosen = list(range(len(self._train))) if positions is None else list(positions)
        # Seeds of iterations lie apart: epochs of one are no epochs of another.
        sampler = TrainingSampler(len(chosen), self._batch_size, self._seed + 1_000_003 * iteration)
        epoch = 0
        while True:
            sampler.set_epoch(epoch)
            keys = iter(sampler)
            while part := list(islice(keys, self._batch_size)):
                if skipped:
                    skipped -= 1
                    continue
                yield self._collate([self._train[(chosen[position], seed)] for position, seed, *_ in part])
            epoch += 1

    def held_out(self) -> list[Batch]:
        """Batches of the images that were held out."""
        if not self._evaluated:
            size = self._batch_size if self._same_size else 1
            self._evaluated = list(batches(self._source, self._evaluate, self._collate, size, self._held))
        return self._evaluated
