"""Google's weights on 100 photographs: the accuracy that independent code measured, with either padding."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from backbone import MobileNetV2, load
from backbone.weights import read

ROOT = Path(os.environ.get("TRIDENT_REAL_DATA", "absent"))
pytestmark = [
    pytest.mark.real_data,
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / "imagenet").is_dir(), reason="TRIDENT_REAL_DATA names no folder with imagenet/"),
]


def photographs() -> tuple[torch.Tensor, list[int]]:
    """Short side to 256, bilinear, centre 224; values in [0, 1]."""
    pillow = pytest.importorskip("PIL.Image")
    index = json.loads((ROOT / "imagenet/imagenet_class_index.json").read_text())
    classes = {wnid: int(number) for number, (wnid, _) in index.items()}
    images, labels = [], []
    for path in sorted((ROOT / "imagenet/val").glob("*/*")):
        with pillow.open(path) as image:
            short = min(image.size)
            size = tuple(round(side * 256 / short) for side in image.size)
            resized = image.convert("RGB").resize(size, pillow.Resampling.BILINEAR)
        left, top = (size[0] - 224) // 2, (size[1] - 224) // 2
        images.append(torch.from_numpy(np.array(resized)[top : top + 224, left : left + 224]))
        labels.append(classes[path.parent.name])
    return torch.stack(images).permute(0, 3, 1, 2).float() / 255, labels


@pytest.mark.parametrize(("padding", "right"), [(None, 85), ("tf_same", 85), ("symmetric", 76)])
def test_top_1(padding: str | None, right: int) -> None:
    path = next((ROOT / "weights").glob("*.safetensors"))
    backbone = MobileNetV2(padding=padding).eval()
    report = load(str(path), backbone)
    assert report.fresh == []
    tensors = read(str(path)).tensors
    images, labels = photographs()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (backbone.input_mean, backbone.input_std))
    with torch.no_grad():
        pooled = torch.cat([backbone(batch)["last"].mean((2, 3)) for batch in torch.split((images - mean) / std, 10)])
    answers = F.linear(pooled, tensors["classifier.weight"], tensors["classifier.bias"]).argmax(1).tolist()
    found = sum(answer == label for answer, label in zip(answers, labels, strict=True))
    print(f"padding={padding}: {found} of {len(labels)}")  # noqa: T201
    assert len(labels) == 100
    assert abs(found - right) <= 1
