"""torchvision's detector and segmenters on MobileNetV3, with random weights, as whole models: from an image to boxes
and label maps, by the options that come with the weights.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import segmentation
from torchvision.models.detection import SSDLite320_MobileNet_V3_Large_Weights

from backbone import InputError
from tasks.predict import load
from tests.backbone.foreign import randomise
from tests.e2e.command import trident
from tests.heads.test_parity_torchvision_detector import detector

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
COCO = SSDLite320_MobileNet_V3_Large_Weights.COCO_V1.meta["categories"]
CLASSES = {index: name for index, name in enumerate(COCO) if index and name != "N/A"}
CLASS_LOGITS = re.compile(r"head\.classification_head\.module_list\.\d\.1\.(weight|bias)")
SIZES = ((240, 321), (75, 100))
V3 = "backbone=mobilenet_v3_large"
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


def photographs() -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]


def as_theirs(image: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1).float() / 255


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    model = detector()
    path = tmp_path_factory.mktemp("detector") / "model.pth"
    torch.save(model.state_dict(), path)
    return path, model


def found(model: Any, image: NDArray[np.uint8]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Labels, scores and boxes of their detector, without ids that no class of COCO has."""
    with torch.no_grad():
        [one] = model([as_theirs(image)])
    real = torch.tensor([label in CLASSES for label in one["labels"].tolist()])
    assert 200 < real.sum() < 300
    return one["labels"][real], one["scores"][real], one["boxes"][real]


def test_boxes_of_the_detector(theirs: tuple[Path, Any]) -> None:
    path, model = theirs
    ours = load(path, "task=detection", V3, "predict.score=0", device="cpu")
    for image in photographs():
        labels, scores, boxes = found(model, image)
        prediction = ours(image)
        mine: Any = prediction["detection"]
        assert list(prediction.names["detection"]) == list(CLASSES.values())
        mine_ids = torch.tensor([list(CLASSES)[index] for index in mine.labels])
        same = labels[:, None] == mine_ids
        same &= (scores[:, None] - mine.scores).abs() < 1e-4
        same &= (boxes[:, None] - mine.boxes_xyxy_px).abs().amax(dim=2) < 0.05
        assert same.any(dim=1).all()  # in any order: to the last digit some scores are equal
        assert mine.scores[: len(scores)].tolist() == pytest.approx(scores.tolist(), abs=1e-4)


def test_detector_on_coco_data(theirs: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results in COCO's format have COCO's ids, gaps and all."""
    path, model = theirs
    (tmp_path / "val2017").mkdir()
    images = photographs()
    for index, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / "val2017" / f"{index}.png")
    entries = [
        {"id": index, "file_name": f"{index}.png", "height": len(image), "width": image.shape[1]}
        for index, image in enumerate(images)
    ]
    box = {"id": 1, "image_id": 0, "bbox": [3, 4, 50, 60], "area": 3000, "category_id": 90, "iscrowd": 0}
    categories = [{"id": index, "name": name} for index, name in CLASSES.items()]
    file = tmp_path / "annotations" / "instances_val2017.json"
    file.parent.mkdir()
    file.write_text(json.dumps({"images": entries, "annotations": [box], "categories": categories}))
    words = ("mode=evaluate", "task=detection", V3, f"checkpoint={path}", "data=coco", f"data.root={tmp_path}")
    assert trident(monkeypatch, *words, "data.workers=0", f"run_dir={tmp_path / 'run'}") == 0
    results = json.loads((tmp_path / "run" / "predictions.json").read_text())
    for index, image in enumerate(images):
        labels, scores, _ = found(model, image)
        mine = sorted((one for one in results if one["image_id"] == index), key=lambda one: -one["score"])
        assert set(labels.tolist()) <= {one["category_id"] for one in mine}
        assert mine[0]["category_id"] == labels[0]
        assert [one["score"] for one in mine[: len(labels)]] == pytest.approx(scores.tolist(), abs=1e-4)


def test_other_classes_are_refused(theirs: tuple[Path, Any], tmp_path: Path) -> None:
    path, model = theirs
    with pytest.raises(InputError, match=r"class 1 of the data is cat, of the weights person; use data with COCO's"):
        load(path, "task=detection", V3, "predict.classes=[cat]", device="cpu")
    state = {
        name: tensor[: len(tensor) // 91 * 4] if CLASS_LOGITS.fullmatch(name) else tensor
        for name, tensor in model.state_dict().items()
    }
    torch.save(state, tmp_path / "mine.pth")
    with pytest.raises(InputError, match=r"mine.pth: does not name its classes; say predict.classes=\[NAME, ..\]"):
        load(tmp_path / "mine.pth", "task=detection", V3, device="cpu")


def test_a_network_that_lacks_the_tail_is_told_the_options(theirs: tuple[Path, Any]) -> None:
    with pytest.raises(InputError, match=r"backbone with width=1 reduced_tail=detection"):
        load(theirs[0], "task=detection", V3, "backbone.reduced_tail=none", device="cpu")
    with pytest.raises(InputError, match=r"with backbone=mobilenet_v3_large width=1 reduced_tail=detection"):
        load(theirs[0], "task=detection", device="cpu")


@pytest.mark.parametrize("name", ["lraspp", "deeplabv3"])
def test_label_maps_of_segmenters(name: str, tmp_path: Path) -> None:
    build = getattr(segmentation, f"{name}_mobilenet_v3_large")
    model: Any = randomise(build(weights=None, weights_backbone=None))
    path = tmp_path / "model.pth"
    torch.save(model.state_dict(), path)
    ours = load(path, "task=segmentation", V3, f"head={name}", device="cpu")
    for image in photographs():
        x = (as_theirs(image) - MEAN[:, None, None]) / STD[:, None, None]
        with torch.no_grad():
            wanted = model(x[None])["out"][0].argmax(dim=0)
        mine: Any = ours(image)["segmentation"]
        assert len(wanted.unique()) > 2
        assert (mine.mask == wanted).float().mean() > 0.9995  # ties to the last digit
