"""Public weights on photographs; the folder is named by TRIDENT_REAL_DATA, and expected numbers are its README's."""

from __future__ import annotations

import json

from heads.structures import Classification
from tasks.predict import load, read_image
from tests.real_data import NEEDED, ROOT

pytestmark = NEEDED


def test_85_of_100_photographs_are_recognised() -> None:
    model = load(ROOT / "weights" / "mobilenet_v2_1.0_224_imagenet_tf.safetensors", "task=classification", device="cpu")
    index = json.loads((ROOT / "imagenet" / "imagenet_class_index.json").read_text(encoding="utf-8"))
    classes = {wnid: int(number) for number, (wnid, _) in index.items()}
    photos = sorted((ROOT / "imagenet" / "val").rglob("*.JPEG"))
    right = 0
    for photo, answer in zip(photos, model.batch([read_image(photo) for photo in photos]), strict=True):
        found = answer["classification"]
        assert isinstance(found, Classification)
        right += int(found.scores.argmax()) == classes[photo.parent.name]
    assert (len(photos), right) == (100, 85)
