"""The folder of VOC 2012 below the one that is named."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tasks.data.checks import require_root
from tasks.data.formats.voc.folder import AUGMENTED, REMEDY, voc_folder

if TYPE_CHECKING:
    from tasks.data.config import VocConfig


def find_voc(config: VocConfig, layout: str) -> Path:
    """The folder that holds `ImageSets`: `data.root`, `VOC*` in it, or `VOCdevkit/VOC*` in it. Downloads if asked to.

    Raises:
        InputError: `data.root` is not set, is no folder or holds no such folder, or holds several.
    """
    if config.root is not None and config.download:
        from tasks.data.formats.voc.download import download_voc

        download_voc(Path(config.root), augmented=AUGMENTED in (config.train_split, config.val_split))
    root = Path(require_root(config.root, layout, REMEDY))
    return voc_folder(root) or root
