"""mode=pack: the splits of a data set as tar shards, in a folder that data=shards reads."""

from __future__ import annotations

import json
import logging
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from backbone.disk import check_space, write_whole
from backbone.errors import InputError
from tasks.commands.pack.contents import divided, fingerprint, items_of
from tasks.commands.pack.writing import write_shard
from tasks.config.run import Task
from tasks.data.config import ShardsConfig
from tasks.data.files.download import transfer_bar
from tasks.data.formats.shards.boxes import read_boxes
from tasks.data.formats.shards.index import read_index
from tasks.data.formats.shards.manifest import SUFFIX, Manifest, read_manifest
from tasks.data.splits import DataSplits
from tasks.runs import folder as run_folder
from tasks.runs.lock import held

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tasks.commands.job import Job
    from tasks.config.pack import PackConfig
    from tasks.data.splits import VisionData

log = logging.getLogger(__name__)

KINDS = (Task.classification, Task.detection)
DIGITS = 6


def pack(job: Job, section: PackConfig, *, seed: int) -> None:
    """Write every split of the data into the run folder; go on where an earlier attempt stopped.

    Raises:
        InputError: this data cannot be packed, the folder holds something else, or it cannot be written.
    """
    task, folder = job.builder.task, job.folder
    if task not in KINDS or isinstance(job.builder.data, ShardsConfig):
        data = "data=shards" if isinstance(job.builder.data, ShardsConfig) else f"task={task.value}"
        raise InputError(f"mode=pack {data}: packs single files labelled for classification or detection")
    splits = job.builder.splits()
    assert isinstance(splits, DataSplits)  # one kind of head has no other
    run_folder.make(folder)
    with held(folder, f"run_dir={folder}: another process packs into it; wait for its end"):
        job.lines.attach(folder)
        parts = [
            _Split(folder, name, split, task.value, section, seed)
            for name, split in (("train", splits.train), ("val", splits.val), ("test", splits.test))
            if split is not None and len(split)
        ]
        check_space(folder, sum(part.missing_bytes for part in parts))
        with transfer_bar(None) as bar:
            for part in parts:
                shown = bar.add_task(part.name, total=part.bytes, completed=part.bytes - part.missing_bytes)
                bar.reset(shown, completed=part.bytes - part.missing_bytes)  # the rate is of what is written now
                part.write(partial(bar.advance, shown))
    log.info("everything is in %s; train on it with data=shards data.root=%s", folder, folder)


class _Split:
    """The shards of one split, of which some may be there.

    Raises:
        InputError: other shards are there.
    """

    def __init__(self, folder: Path, name: str, data: VisionData, kind: str, config: PackConfig, seed: int) -> None:
        self.name = name
        self._folder = folder
        self._file = folder / f"{name}{SUFFIX}"
        order = np.arange(len(data))
        if config.shuffle and name == "train":
            order = np.random.default_rng(seed).permutation(len(data))
        self._kind = kind
        items = items_of(data, self._kind, order.tolist())
        self._shards = list(divided(items, config))
        how = {"shard_megabytes": config.shard_megabytes, "shard_images": config.shard_images,
               "shuffle": config.shuffle, "seed": seed}  # fmt: skip
        wanted = Manifest(
            split=name,
            kind=self._kind,
            labels=data.labels.to_plain(),
            samples=len(items),
            source=fingerprint(items),
            how=how,
        )
        self._manifest = self._begun(wanted)

    @property
    def bytes(self) -> int:
        return sum(item.packed_bytes for shard in self._shards for item in shard)

    @property
    def missing_bytes(self) -> int:
        """What is not written yet."""
        missing = self._shards[len(self._manifest.shards) :]
        return sum(item.packed_bytes for shard in missing for item in shard)

    def write(self, advance: Callable[[int], object]) -> None:
        """Write the shards that are missing, the index of each, and the manifest after each."""
        self._save()
        before = len(self._manifest.shards)
        if before:
            log.info("%s: %d of %d shards are there already", self._file, before, len(self._shards))
        for number in range(before, len(self._shards)):
            path = self._path(number)
            self._manifest.shards.append(write_shard(path, self._shards[number], advance))
            (read_boxes if self._kind == "detection" else read_index)(path)
            self._save()
        self._manifest.complete = True
        self._save()
        log.info(
            "%s: %d images in %d shards, %.1f MB", self._file, self._manifest.samples, len(self._shards),
            sum(shard.bytes for shard in self._manifest.shards) / 1e6,
        )  # fmt: skip

    def _path(self, number: int) -> Path:
        return self._folder / f"{self.name}-{number:0{DIGITS}d}.tar"

    def _begun(self, wanted: Manifest) -> Manifest:
        """The manifest that is there, without the shards that are not as it says; else `wanted`."""
        if not self._file.exists():
            strange = next(iter(sorted(self._folder.glob(f"{self.name}*.tar"))), None)
            if strange is not None:
                raise InputError(f"{strange}: is there without a manifest; name another run_dir, or empty this one")
            return wanted
        there = read_manifest(self._file)
        for key in ("kind", "how", "labels", "samples", "source"):
            before, now = getattr(there, key), getattr(wanted, key)
            if before != now:
                what = f"{before} and now {now}" if key in ("kind", "how", "samples") else f"other {key}"
                raise InputError(f"{self._file}: was begun with {what}; name another run_dir, or go on with the same")
        whole = 0
        for shard in there.shards:
            path = self._folder / shard.name
            if not path.is_file() or path.stat().st_size != shard.bytes:
                break
            whole += 1
        there.shards, there.complete = there.shards[:whole], False
        return there

    def _save(self) -> None:
        write_whole(self._file, json.dumps(self._manifest.to_plain(), indent=1))
