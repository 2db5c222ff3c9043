"""Where the scenes are kept, and how they get there: whole or not at all."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import platformdirs
from rich.console import Console
from rich.progress import Progress

from backbone.errors import InputError
from tasks.data.config import FolderConfig
from tasks.data.files.contents import parse_json, read_text
from tasks.data.formats.coco.boxes import CocoDetection
from tasks.data.formats.image_folder import read_split
from tasks.data.formats.shapes.outlines import NAMES
from tasks.data.formats.shapes.scene import draw_scene
from tasks.data.formats.shapes.writers import ALL_LABELS, MASK_NAMES, write_all, write_coco, write_folders, write_voc
from tasks.data.formats.voc.masks import VocSegmentation
from tasks.data.splits import DataSplits, VisionData

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tasks.data.config import ShapesConfig
    from tasks.data.formats.shapes.scene import Scene

log = logging.getLogger(__name__)

VERSION = 9
"""Version of the generator: raised with every change of what it draws: nobody trains on scenes of an older one."""
SPLITS = ("train", "val")
WRITERS = {"classification": write_folders, "detection": write_coco, "segmentation": write_voc, ALL_LABELS: write_all}
"""Layout of a real data set, by what is learned."""
READERS: dict[str, Callable[[Path, str, ShapesConfig], VisionData]] = {
    "classification": lambda root, split, config: read_split(root / split, NAMES, FolderConfig().max_megapixels),
    "detection": lambda root, split, config: CocoDetection(root, split, config.bad_boxes),
    "segmentation": lambda root, split, config: VocSegmentation(root, split, MASK_NAMES),
}
AGAIN = "remove the folder to draw its scenes again, or name another one by data.root="
RECORD = "shapes.json"
"""Says what was drawn; written last, so a folder that has it is complete."""


def build_splits(config: ShapesConfig, kind: str) -> DataSplits:
    """Train and val, drawn if they are not there. Scenes of val are from other seeds than those of train.

    Args:
        kind: what is learned. To be classified, scenes have one object each.

    Raises:
        InputError: the folder holds something else, or cannot be written.
    """
    root = scenes_folder(config, kind)
    ensure_scenes(root, config, kind)
    train, val = (READERS[kind](root, split, config) for split in SPLITS)
    return DataSplits(train=train, val=val, test=None, labels=train.labels)


def scenes_folder(config: ShapesConfig, kind: str) -> Path:
    """`data.root`, or a folder of the user's cache that is named by what is in it."""
    if config.root is not None:
        return Path(config.root)
    digest = hashlib.sha256(json.dumps(_parameters(config, kind), sort_keys=True).encode()).hexdigest()[:12]
    return Path(platformdirs.user_cache_dir("trident")) / "shapes" / digest


def ensure_scenes(root: Path, config: ShapesConfig, kind: str) -> None:
    """Draw the scenes into `root` unless they are there.

    They are drawn into a folder beside it, which is renamed in the end; of several processes that do so at once,
    one wins and the others use its scenes.

    Raises:
        InputError: `root` holds other scenes or anything else, or cannot be written.
    """
    wanted = _parameters(config, kind)
    if _is_there(root, wanted):
        return
    log.info("drawing %d scenes into %s", config.train_scenes + config.val_scenes, root)
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    except OSError as error:
        raise InputError(f"{root}: cannot be written ({error.strerror}); name another folder by data.root=") from error
    try:
        _draw_all(temporary, config, kind)
        (temporary / RECORD).write_text(json.dumps(wanted, indent=2), encoding="utf-8")
        temporary.chmod(0o755)
        try:
            temporary.rename(root)
        except OSError:
            if not _is_there(root, wanted):
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _parameters(config: ShapesConfig, kind: str) -> dict[str, Any]:
    return {
        "version": VERSION,
        "labels": kind,
        "train_scenes": config.train_scenes,
        "val_scenes": config.val_scenes,
        "scene_size": config.scene_size,
        "seed": config.seed,
    }


def _is_there(root: Path, wanted: dict[str, Any]) -> bool:
    record = root / RECORD
    if not record.is_file():
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise InputError(f"{root}: holds no scenes but is not empty; name an empty or new folder by data.root=")
        return False
    try:
        found = parse_json(read_text(record, AGAIN))
    except ValueError as error:
        raise InputError(f"{record}: is damaged ({error}); {AGAIN}") from None
    if found != wanted:
        raise InputError(f"{root}: holds scenes drawn with {found}, not {wanted}; name another folder by data.root=")
    return True


def _draw_all(root: Path, config: ShapesConfig, kind: str) -> None:
    counts = dict(zip(SPLITS, (config.train_scenes, config.val_scenes), strict=True))
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("drawing scenes", total=sum(counts.values()))

        def scenes(number: int, count: int) -> Iterator[Scene]:
            for index in range(count):
                rng = np.random.default_rng([config.seed, number, index])
                single = index % len(NAMES) if kind == "classification" else None
                yield draw_scene(config.scene_size, rng, single=single)
                progress.advance(task)

        for number, split in enumerate(SPLITS):
            WRITERS[kind](root, split, scenes(number, counts[split]))
