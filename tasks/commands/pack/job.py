"""mode=pack: the splits of a data set as tar shards, in a folder that data=shards reads."""

from __future__ import annotations

import json
import logging
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from filelock import FileLock, Timeout

from backbone.disk import check_space, write_whole
from backbone.errors import InputError
from tasks.commands.pack.contents import divided, fingerprint, items_of
from tasks.commands.pack.writing import write_shard
from tasks.config.run import Task
from tasks.data.build import build_splits
from tasks.data.config import ShardsConfig
from tasks.data.files.download import transfer_bar
from tasks.data.formats.shards.boxes import read_boxes
from tasks.data.formats.shards.index import read_index
from tasks.data.formats.shards.manifest import SUFFIX, Manifest, read_manifest
from tasks.runs import folder as run_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tasks.config.run import RunConfig
    from tasks.data.splits import VisionData
    from tasks.runs.log import RunLog

log = logging.getLogger(__name__)

KINDS = (Task.classification, Task.detection)
LOCK = ".lock"
DIGITS = 6


def pack(config: RunConfig, lines: RunLog) -> None:
    """Write every split of `config.data` into `config.run_dir`; go on where an earlier attempt stopped.

    Raises:
        InputError: this data cannot be packed, the folder holds something else, or it cannot be written.
    """
    if config.task not in KINDS or isinstance(config.data, ShardsConfig):
        data = "data=shards" if isinstance(config.data, ShardsConfig) else f"task={config.task.value}"
        raise InputError(f"mode=pack {data}: packs single files labelled for classification or detection")
    kind, folder = config.task.value, Path(str(config.run_dir))
    splits = build_splits(config.data, kind, need_train=False)
    with _held(folder):
        lines.attach(folder)
        jobs = [
            _Split(folder, name, split, config)
            for name, split in (("train", splits.train), ("val", splits.val), ("test", splits.test))
            if split is not None and len(split)
        ]
        check_space(folder, sum(job.missing_bytes for job in jobs))
        with transfer_bar(None) as bar:
            for job in jobs:
                task = bar.add_task(job.name, total=job.bytes, completed=job.bytes - job.missing_bytes)
                bar.reset(task, completed=job.bytes - job.missing_bytes)  # the rate is of what is written now
                job.write(partial(bar.advance, task))
    log.info("everything is in %s; train on it with data=shards data.root=%s", folder, folder)


class _Split:
    """The shards of one split, of which some may be there.

    Raises:
        InputError: other shards are there.
    """

    def __init__(self, folder: Path, name: str, data: VisionData, config: RunConfig) -> None:
        self.name = name
        self._folder = folder
        self._file = folder / f"{name}{SUFFIX}"
        order = np.arange(len(data))
        if config.pack.shuffle and name == "train":
            order = np.random.default_rng(config.seed).permutation(len(data))
        self._kind = config.task.value
        items = items_of(data, self._kind, order.tolist())
        self._shards = list(divided(items, config.pack))
        how = {"shard_megabytes": config.pack.shard_megabytes, "shard_images": config.pack.shard_images,
               "shuffle": config.pack.shuffle, "seed": config.seed}  # fmt: skip
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


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """While this lasts nobody else packs into the folder, which is there now.

    Raises:
        InputError: somebody does, or the folder cannot be written.
    """
    run_folder.make(folder)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise InputError(f"run_dir={folder}: another process packs into it; wait for its end") from error
    try:
        yield
    finally:
        lock.release()
