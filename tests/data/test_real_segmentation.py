"""Masks that people really have, in the folder TRIDENT_REAL_DATA. Oracles: Pillow, and pycocotools object by object."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tasks.data.build import build_splits
from tasks.data.config import CocoConfig, VocConfig
from tasks.data.formats.coco.categories import VOC_NAMES
from tasks.data.formats.voc.masks import VOC_CLASSES
from tasks.data.transforms.deeplab import ScalingCrops
from tests.real_data import NEEDED, ROOT

pytestmark = NEEDED


def test_every_mask_of_voc() -> None:
    splits = build_splits(VocConfig(root=str(ROOT / "VOCdevkit")), "segmentation")
    assert (len(splits.train), len(splits.val), splits.test) == (150, 100, None)
    masks = ROOT / "VOCdevkit" / "VOC2012" / "SegmentationClass"
    apply = ScalingCrops(321)
    for split in (splits.train, splits.val):
        for index in range(len(split)):
            sample = split[index]
            with Image.open(masks / f"{split.path(index).stem}.png") as opened:
                np.testing.assert_array_equal(sample.mask, np.array(opened))
            assert sample.image.shape == (*sample.size, 3)
            crop = apply(sample, index)
            assert set(np.unique(crop.mask)) <= set(np.unique(sample.mask)) | {255}


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_every_mask_of_coco() -> None:
    """Every object is drawn where pycocotools draws it, unless a smaller one lies over it."""
    from pycocotools.coco import COCO

    splits = build_splits(CocoConfig(root=str(ROOT / "coco")), "segmentation")
    official = COCO(str(ROOT / "coco/annotations/instances_val2017.json"))
    ids = {image["file_name"]: image["id"] for image in official.loadImgs(official.getImgIds())}
    names = {category: VOC_NAMES.get(row["name"], row["name"]) for category, row in official.cats.items()}
    assert {name for name in names.values() if name in VOC_CLASSES} == set(VOC_CLASSES[1:])
    assert (len(splits.train), len(splits.val)) == (264, 206)
    for index in range(len(splits.val)):
        mask = splits.val[index].mask
        assert mask is not None
        rows = official.loadAnns(official.getAnnIds(ids[splits.val.path(index).name]))
        known = [row for row in rows if names[row["category_id"]] in VOC_CLASSES]
        drawn = [official.annToMask(row) > 0 for row in known]
        values = [255 if row["iscrowd"] else VOC_CLASSES.index(names[row["category_id"]]) for row in known]
        covered = np.zeros(mask.shape, dtype=np.int64)
        for inside in drawn:
            covered += inside
        assert (mask[covered == 0] == 0).all()
        for inside, value in zip(drawn, values, strict=True):
            assert (mask[inside & (covered == 1)] == value).all()
        if drawn:
            single = [number for number, row in enumerate(known) if not row["iscrowd"]]
            smallest = min(single, key=lambda number: drawn[number].sum(), default=None)
            assert smallest is None or (mask[drawn[smallest]] == values[smallest]).all()
