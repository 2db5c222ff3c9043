"""The page of export=web: what its scripts compute, run by Node, beside what Python's libraries do."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import batched_nms

from backbone.errors import InputError
from tasks.config.export import ExportConfig, Format
from tasks.data.sample import Sample
from tasks.data.transforms.build import evaluation_transform
from tasks.data.transforms.config import (
    DeepLabTransformConfig,
    ImageNetTransformConfig,
    Interpolation,
    JointTransformConfig,
    SSDTransformConfig,
    TransformConfig,
)
from tasks.data.transforms.config import (
    TestCrop as Crop,
)
from tasks.deploy.web import runtime
from tasks.deploy.web.page import ANSWERED_HERE, ONLY_THERE, SOURCES, colours_of, sources
from tasks.deploy.web.view import view_of

SCRIPT = Path(__file__).with_name("page.mjs")
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
SIZES = [(64, 64), (200, 150), (129, 300), (40, 50), (40, 300), (97, 65), (500, 40)]
"""Height and width: as large as the input, larger, smaller, and one side of each."""
CROPS = [
    ImageNetTransformConfig(image_size=64, test_crop=crop, interpolation=interpolation)
    for crop in Crop
    for interpolation in Interpolation
    if interpolation.rounds
]
WHOLE = DeepLabTransformConfig(image_size=64, max_side=64)
STRETCHED = SSDTransformConfig(image_size=64, interpolation=Interpolation.bilinear)
WAYS = [SSDTransformConfig(image_size=64), STRETCHED, JointTransformConfig(image_size=64), WHOLE, *CROPS]


def of_page(*jobs: dict[str, Any]) -> list[Any]:
    """What the page's scripts answer."""
    words = ["node", str(SCRIPT), str(SOURCES)]
    done = subprocess.run(words, input=json.dumps(jobs), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(done.stdout)
    return found


def packed(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def unpacked(text: str, kind: str = "uint8") -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind)


def tensor(array: np.ndarray) -> dict[str, Any]:
    return {"data": packed(array), "dims": list(array.shape), "type": str(array.dtype)}


@needs_node
def test_the_page_sees_an_image_as_python_does() -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (*size, 3), np.uint8) for size in SIZES]
    jobs, wanted = [], []
    for way in WAYS:
        for image in images:
            height, width = image.shape[:2]
            view = {"way": view_of(way, 64), "size": 64, "padding": [1, 2, 3]}
            jobs.append({"do": "look", "data": packed(image), "width": width, "height": height} | view)
            seen = evaluation_transform(way)(Sample(image=image, image_id=0, size=(height, width)), 0).image
            wanted.append((way, image.shape, seen))
    for found, (way, shape, seen) in zip(of_page(*jobs), wanted, strict=True):
        assert found["content"] == list(seen.shape[:2]), (way, shape)
        square = unpacked(found["data"]).reshape(64, 64, 3)
        content = square[: seen.shape[0], : seen.shape[1]].astype(int)
        off = np.abs(content - seen)
        assert off.max() <= (3 if getattr(way, "interpolation", None) is Interpolation.bicubic else 1), (way, shape)
        assert off.mean() < 0.15, (way, shape)
        assert (square[seen.shape[0] :] == [1, 2, 3]).all()


@needs_node
def test_boxes_that_overlap_are_told_apart_as_torchvision_does() -> None:
    rng = np.random.default_rng(1)
    corner, side = rng.random((300, 2)) * 0.7, rng.random((300, 2)) * 0.4
    boxes = np.concatenate([corner, corner + side], axis=1).astype(np.float32).clip(-0.1, 1.1)
    scores = rng.random((300, 4)).astype(np.float32)
    settings = {"score_threshold": 0.4, "nms_iou": 0.5, "detections": 50}
    heads = {"objects": {"kind": "detection", "outputs": ["scores", "boxes"], "settings": settings}}
    outputs = {"objects.scores": tensor(scores[None]), "objects.boxes": tensor(boxes[None])}
    frame = {"content": [48, 64], "size": 64, "width": 640, "height": 480}
    (found,) = of_page({"do": "read", "outputs": outputs, "heads": heads, "frame": frame})
    pixels = torch.from_numpy(boxes * np.array([1, 64 / 48, 1, 64 / 48], np.float32)).clamp(0, 1)
    which, label = (torch.from_numpy(scores) > 0.4).nonzero(as_tuple=True)
    kept = batched_nms(pixels[which], torch.from_numpy(scores)[which, label], label, 0.5)[:50]
    told = found["objects"]["detections"]
    assert [one["label"] for one in told] == label[kept].tolist()
    assert [one["score"] for one in told] == pytest.approx(torch.from_numpy(scores)[which, label][kept].tolist())
    expected = pixels[which][kept] * torch.tensor([640.0, 480, 640, 480])
    np.testing.assert_allclose([one["box"] for one in told], expected.numpy(), atol=1e-3)


@needs_node
@pytest.mark.parametrize("aligned", [True, False])
def test_masks_are_those_of_interpolated_logits(aligned: bool) -> None:
    logits = np.random.default_rng(2).standard_normal((1, 5, 9, 9)).astype(np.float32)
    heads = {"regions": {"kind": "segmentation", "outputs": ["logits"], "settings": {"aligned_corners": aligned}}}
    outputs = {"regions.logits": tensor(logits)}
    frame = {"content": [48, 64], "size": 64, "width": 200, "height": 150}  # the input as a whole is 200 x 200
    (found,) = of_page({"do": "read", "outputs": outputs, "heads": heads, "frame": frame})
    whole = F.interpolate(torch.from_numpy(logits), (200, 200), mode="bilinear", align_corners=aligned)
    wanted = whole.argmax(dim=1)[0, :150].numpy()
    assert (unpacked(found["regions"]["mask"]).reshape(150, 200) == wanted).mean() > 0.9999


@needs_node
def test_label_maps_and_classes() -> None:
    mask = np.random.default_rng(3).integers(0, 5, (1, 64, 64), np.uint8)
    heads = {
        "regions": {"kind": "segmentation", "outputs": ["mask"], "settings": {}},
        "scene": {"kind": "classification", "outputs": ["scores"], "settings": {}},
    }
    outputs = {"regions.mask": tensor(mask), "scene.scores": tensor(np.array([[0.2, 0.5, 0.2, 0.1]], np.float32))}
    frame = {"content": [48, 64], "size": 64, "width": 200, "height": 150}
    (found,) = of_page({"do": "read", "outputs": outputs, "heads": heads, "frame": frame})
    wanted = F.interpolate(torch.from_numpy(mask[None, :, :48]), (150, 200), mode="nearest-exact")[0, 0].numpy()
    np.testing.assert_array_equal(unpacked(found["regions"]["mask"]).reshape(150, 200), wanted)
    assert [one["label"] for one in found["scene"]["classes"]] == [1, 0, 2, 3]


def test_a_transform_from_outside_is_no_view() -> None:
    with pytest.raises(InputError, match="TransformConfig is none of Trident's"):
        view_of(TransformConfig(), 64)
    with pytest.raises(InputError, match=r"transform\.interpolation=legacy_bilinear: the page"):
        view_of(SSDTransformConfig(interpolation=Interpolation.legacy_bilinear), 64)


def test_the_page_names_every_file_that_it_has_and_no_other_place() -> None:
    names = {path.name for path in sources()}
    kept = re.search(r"SHELL = \[(.*?)\];", (SOURCES / "sw.js").read_text(encoding="utf-8"))
    assert kept is not None
    told = set(re.findall(r'"(.*?)"', kept[1]))
    assert told == names - {"index.html", "sw.js"} | {"./", "model.json", "manifest.webmanifest"}
    served = {path.name for path in sources(ANSWERED_HERE)}
    assert served == names - ONLY_THERE | {ANSWERED_HERE}
    for name in served:
        assert set(re.findall(r'from "\./(.*?)"', (SOURCES / name).read_text(encoding="utf-8"))) <= served
    for path in SOURCES.iterdir():
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", path.read_text(encoding="utf-8")), path.name


def test_a_background_has_no_colour() -> None:
    assert [colour[3] for colour in colours_of("segmentation", ["background", "cat"])] == [0, 255]
    assert [colour[3] for colour in colours_of("segmentation", ["sky", "cat"])] == [255, 255]


def test_a_folder_without_the_runtime_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"lacks ort\.wasm\.min\.mjs"):
        runtime.check_runtime(str(tmp_path))
    for name in runtime.FILES:
        (tmp_path / name).write_text(name)
    runtime.check_runtime(str(tmp_path))
    runtime.copy_runtime(str(tmp_path), tmp_path / "copied")
    assert {path.name for path in (tmp_path / "copied").iterdir()} == {*runtime.FILES, "LICENSE.txt"}


def test_without_npm_the_folder_is_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(InputError, match=r"needs npm .* export\.runtime=FOLDER"):
        runtime.check_runtime(None)


def test_only_a_page_has_a_runtime() -> None:
    with pytest.raises(InputError, match="needs export=web, not onnx"):
        ExportConfig(format=Format.onnx, runtime="folder")
