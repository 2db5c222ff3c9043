"""A detector that TensorFlow trained, beside TensorFlow's own numbers."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from backbone.weights.tensorflow.checkpoint import read_checkpoint
from tasks.data.sample import Sample
from tasks.data.transforms.config import Interpolation
from tasks.data.transforms.whole import EvalTransform
from tasks.predict import load, read_image
from tests.real_data import NEEDED, ROOT

pytestmark = NEEDED
FOLDER = ROOT / "tensorflow"


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    with np.load(FOLDER / "reference_4_images.npz") as arrays:
        return {name: arrays[name] for name in arrays.files}


def test_a_partitioned_and_an_object_based_checkpoint() -> None:
    whole = read_checkpoint(str(FOLDER / "checkpoints/part.ckpt"))
    np.testing.assert_array_equal(whole["part/weights"].numpy(), np.load(FOLDER / "checkpoints/part.npy"))
    shapes = {name: tuple(tensor.shape) for name, tensor in read_checkpoint(str(FOLDER / "checkpoints/tf2-1")).items()}
    assert shapes == {"w": (3, 3, 4, 5), "Variable": (5,), "save_counter": ()}


def test_images_are_resized_as_tensorflow_1_does(reference: dict[str, Any]) -> None:
    names = {one["id"]: one["file_name"] for one in _annotations()["images"]}
    transform = EvalTransform(300, Interpolation.legacy_bilinear)
    for image_id, wanted in zip(reference["image_ids"].tolist(), reference["preprocessed"], strict=True):
        image = read_image(FOLDER.parent / "coco/val2017" / names[image_id])
        seen = transform(Sample(image=image, image_id=0, size=image.shape[:2]), 0).image
        np.testing.assert_allclose(seen * (2 / 255) - 1, wanted, atol=2e-6)


@pytest.mark.parametrize("name", ["ssdlite_mobilenet_v2_pedestrian.pb", "checkpoints/model.ckpt"])
def test_raw_outputs_and_detections(name: str, reference: dict[str, Any]) -> None:
    predictor = load(str(FOLDER / name), "task=detection", "predict.classes=[person]")
    model = predictor.model.eval()
    images = torch.from_numpy((reference["preprocessed"] + 1) * 127.5).permute(0, 3, 1, 2)
    with torch.inference_mode():
        outputs = model(images)["detection"]
        found = model.heads["detection"].predict(outputs, torch.ones(4, 2))  # type: ignore[operator]
    np.testing.assert_allclose(outputs.logits.numpy(), reference["logits"], atol=2e-4)
    np.testing.assert_allclose(outputs.deltas.numpy()[..., [1, 0, 3, 2]], reference["encodings_tyxhw"], atol=2e-4)
    for image, detections in enumerate(found):
        np.testing.assert_allclose(detections.scores.numpy(), reference["scores"][image], atol=1e-4)
        boxes = detections.boxes_xyxy_px.numpy()[:, [1, 0, 3, 2]]
        np.testing.assert_allclose(boxes, reference["boxes_yxyx"][image], atol=1e-4)


def _annotations() -> dict[str, Any]:
    contents: dict[str, Any] = json.loads((ROOT / "coco/annotations/instances_val2017.json").read_text())
    return contents
