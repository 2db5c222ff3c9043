"""Images with one class that people really have; the folder is named by TRIDENT_REAL_DATA."""

from __future__ import annotations

import numpy as np
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from tasks.data.build import build_splits
from tasks.data.config import FolderConfig, ImageNetConfig
from tasks.data.loading.sampling import TransformedData
from tasks.data.transforms.imagenet import CentreCrop, RandomCrop
from tests.real_data import NEEDED, ROOT

pytestmark = NEEDED


def test_every_image_of_hymenoptera() -> None:
    splits = build_splits(FolderConfig(root=str(ROOT / "hymenoptera")), "classification")
    theirs = ImageFolder(str(ROOT / "hymenoptera" / "val"))
    assert [(str(splits.val.path(i)), int(c)) for i, c in enumerate(splits.val.classes())] == theirs.samples
    data = TransformedData(splits.train, RandomCrop(64))
    assert all(data[index, index].image.shape == (64, 64, 3) for index in range(len(data)))


def test_imagenet_is_cropped_as_torchvision_crops_it() -> None:
    splits = build_splits(ImageNetConfig(root=str(ROOT / "imagenet")), "classification", need_train=False)
    assert splits.val.classes().tolist() == list(range(0, 1000, 10))
    data = TransformedData(splits.val, CentreCrop(224, 256))
    reference = v2.Compose([v2.Resize(256), v2.CenterCrop(224)])
    for index in range(0, 100, 9):
        with Image.open(splits.val.path(index)) as image:
            expected = np.asarray(reference(image.convert("RGB"))).astype(int)
        difference = np.abs(data[index].image - expected)
        assert difference.mean() < 0.5
        assert difference.max() <= 4
