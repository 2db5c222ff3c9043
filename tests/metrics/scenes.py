"""Ground truth and results made by hand or by chance, for the tests of this folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest


def real_data() -> Path:
    """The folder of real data, or the test is skipped."""
    folder = os.environ.get("TRIDENT_REAL_DATA")
    if not folder:
        pytest.skip("TRIDENT_REAL_DATA does not name a folder")
    return Path(folder)


def truth(annotations: list[dict[str, Any]], images: int = 2, categories: int = 2) -> dict[str, Any]:
    """Images 10, 20, ..., categories 3, 6, ... named c3, c6, ...; annotations get their ids."""
    return {
        "images": [{"id": 10 * (i + 1), "width": 200, "height": 200} for i in range(images)],
        "categories": [{"id": 3 * (i + 1), "name": f"c{3 * (i + 1)}"} for i in range(categories)],
        "annotations": [{"id": number, **annotation} for number, annotation in enumerate(annotations)],
    }


def thing(image_id: int, category_id: int, bbox: list[float], **more: Any) -> dict[str, Any]:
    return {"image_id": image_id, "category_id": category_id, "bbox": bbox, **more}


def perturbed(ground_truth: dict[str, Any], seed: int, *, ties: bool, strangers: int = 10) -> list[dict[str, Any]]:
    """Detections near the objects, some of a wrong class, some twice, and some from nowhere."""
    rng = np.random.default_rng(seed)
    ids = [category["id"] for category in ground_truth["categories"]]
    decimals = 1 if ties else 6
    results = []
    for annotation in ground_truth["annotations"]:
        for _ in range(rng.integers(0, 4)):
            x, y, w, h = annotation["bbox"]
            box = [
                x + 0.1 * w * rng.normal(),
                y + 0.1 * h * rng.normal(),
                w * rng.uniform(0.8, 1.2),
                h * rng.uniform(0.8, 1.2),
            ]
            category_id = annotation["category_id"] if rng.random() < 0.8 else int(rng.choice(ids))
            score = round(float(rng.random()), decimals)
            results.append(thing(annotation["image_id"], category_id, [round(float(v), 3) for v in box], score=score))
    for image in ground_truth["images"]:
        for _ in range(rng.integers(0, strangers)):
            box = [round(float(v), 3) for v in rng.uniform(1, 200, 4)]
            score = round(0.8 * float(rng.random()), decimals)
            results.append(thing(image["id"], int(rng.choice(ids)), box, score=score))
    return results


def chance(seed: int) -> dict[str, Any]:
    """A small ground truth with crowd regions, images without objects and categories without objects."""
    rng = np.random.default_rng(seed)
    images, categories = int(rng.integers(1, 7)), int(rng.integers(1, 4))
    return truth(
        [
            thing(
                10 * int(rng.integers(1, images + 1)),
                3 * int(rng.integers(1, categories + 1)),
                [float(v) for v in rng.integers(1, 120, 4)],
                iscrowd=int(rng.random() < 0.2),
            )
            for _ in range(rng.integers(0, 25))
        ],
        images,
        categories,
    )
