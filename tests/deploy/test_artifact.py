"""What stands around a runtime: reading its answers, sizes that do not fit, missing packages, files on a full disk."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from backbone.disk import write_whole
from backbone.errors import InputError
from tasks.commands.export.calibration import calibrate_on
from tasks.commands.export.comparison import differences
from tasks.config.export import ExportConfig, Format, Precision
from tasks.data.sample import Sample
from tasks.deploy import toolchains
from tasks.deploy.artifact import FixedSize, TorchRun, fitted, open_artifact
from tasks.deploy.endings import Cells, Pixels, Seen, canvas, ending_of, reading
from tasks.deploy.graph import ExportGraph
from tasks.runs import provenance
from tests.commands.predict.models import predictor
from tests.data.builders import jpeg, picture
from tests.deploy.test_header import header

HEADS = ("classification", "detection", "segmentation")
SIZE = 64


def around(*heads: str, mask: bool = False) -> tuple[Any, FixedSize]:
    """A model, and the same as something that takes one image of one size."""
    model = predictor(*heads).model
    graph = ExportGraph(model, SIZE, mask=mask)
    endings: dict[str, Any] = dict(graph.endings.items())
    read = {name: reading(told["kind"], told["outputs"], told["settings"]) for name, told in graph.described().items()}
    return model, FixedSize(TorchRun(model, endings), read, size=SIZE, padding=[128] * 3, what="artifact=x")


def test_answers_are_those_of_the_heads() -> None:
    model, fixed = around(*HEADS)
    images = torch.randint(0, 256, (3, 3, SIZE, SIZE), dtype=torch.uint8)
    sizes = torch.tensor([[64, 64], [100, 40], [31, 77]])
    with torch.no_grad():
        outputs, seen = model(images), fixed(images)
    for name in HEADS:
        wanted = model.heads[name].predict(outputs[name], sizes)
        found = fixed.endings[name].predict(seen[name], sizes)
        for one, other in zip(found, wanted, strict=True):
            for part in one.__slots__ if hasattr(one, "__slots__") else ():
                torch.testing.assert_close(getattr(one, part), getattr(other, part), atol=1e-5, rtol=1e-5)


def test_only_the_rows_of_a_head() -> None:
    _, fixed = around("classification", "segmentation")
    images = torch.randint(0, 256, (3, 3, SIZE, SIZE), dtype=torch.uint8)
    rows = {"classification": torch.tensor([2, 0]), "segmentation": torch.tensor([], dtype=torch.int64)}
    features = fixed.features(images)
    found = fixed.forward_heads(features, rows)
    assert list(found) == ["classification"]
    torch.testing.assert_close(found["classification"].tensors[0], features["classification"].tensors[0][[2, 0]])


def test_a_smaller_picture_lies_in_the_corner() -> None:
    view = picture(40, 50)
    square = fitted(view, SIZE, [1, 2, 3], "x")
    assert np.array_equal(square[:40, :50], view)
    assert square[40:].reshape(-1, 3).tolist() == [[1, 2, 3]] * (24 * 64)
    assert (square[:40, 50:] == [1, 2, 3]).all()


def test_a_larger_picture_is_refused() -> None:
    with pytest.raises(InputError) as raised:
        fitted(picture(65, 30), SIZE, [0, 0, 0], "artifact=m.onnx")
    assert str(raised.value) == (
        "artifact=m.onnx: takes images of 64 x 64 pixels, and was given one of 30 x 65; leave transform.* as they are"
        " in the file, or export it for that size"
    )


def test_a_mask_of_a_padded_picture_is_cut_from_the_whole_input() -> None:
    torch.manual_seed(0)
    logits = torch.rand(1, 3, 5, 5)
    seen = Seen((logits,), (40, 50), (SIZE, SIZE))
    (found,) = Cells({"aligned_corners": True}).predict(seen, torch.tensor([[40, 50]]))
    whole = F.interpolate(logits, (SIZE, SIZE), mode="bilinear", align_corners=True).argmax(dim=1)[0]
    assert torch.equal(found.mask.long(), whole[:40, :50])
    assert canvas((80, 100), seen) == (128, 128)


def test_boxes_of_a_padded_picture_are_in_its_own_pixels() -> None:
    ending = reading("detection", ["scores", "boxes"], {"score_threshold": 0.1, "nms_iou": 0.5, "detections": 5})
    boxes = torch.tensor([[[0.0, 0.25, 0.5, 0.5]]])
    (found,) = ending.predict(Seen((torch.tensor([[[0.9]]]), boxes), (32, 64), (64, 64)), torch.tensor([[320, 640]]))
    assert found.boxes_xyxy_px.tolist() == [[0.0, 160.0, 320.0, 320.0]]  # 16 .. 32 of 32 rows are 160 .. 320 of 320


def test_a_label_map_is_the_best_class_of_every_pixel() -> None:
    _, cells = around("segmentation")
    _, pixels = around("segmentation", mask=True)
    images = torch.randint(0, 256, (1, 3, SIZE, SIZE), dtype=torch.uint8)
    sizes = torch.tensor([[SIZE, SIZE]])
    (coarse,) = cells.endings["segmentation"].predict(cells(images)["segmentation"], sizes)
    (fine,) = pixels.endings["segmentation"].predict(pixels(images)["segmentation"], sizes)
    assert torch.equal(coarse.mask, fine.mask)
    ending, logits = Pixels({"aligned_corners": True, "size": [SIZE, SIZE]}), torch.rand(1, 3, 4, 4)
    (mask,) = ending(logits)
    ending.channels_last = True
    assert torch.equal(ending(logits)[0], mask)


def test_a_head_that_nobody_knows() -> None:
    with pytest.raises(
        InputError, match="head x: is a Other, and mode=export knows where linear, ssdlite, deeplabv3 and lraspp end"
    ):
        ending_of("x", type("Other", (), {})(), SIZE)
    with pytest.raises(InputError, match="a head of kind depth with outputs metres is not known to this version"):
        reading("depth", ["metres"], {})


def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "find_spec", lambda name: None)
    with pytest.raises(InputError) as raised:
        toolchains.tools(Format.onnx, what="export=onnx", to_write=True)
    assert str(raised.value) == (
        "export=onnx: needs onnx, onnxscript, onnxruntime, not installed here; say pip install"
        " 'trident-mobile-vision[onnx]'"
    )
    with pytest.raises(InputError, match="artifact=m: needs ai_edge_litert, not installed here"):
        toolchains.tools(Format.litert, what="artifact=m", to_write=False)


def test_a_header_of_another_runtime_or_head(tmp_path: Path) -> None:
    told = header()
    told.runtime = "abacus"
    with pytest.raises(InputError, match="is for runtime abacus; this version knows onnx, executorch, litert"):
        open_artifact("m", told)
    told = header()
    told.heads = {"detection": {"kind": "detection", "outputs": ["scores"], "settings": {}}}
    with pytest.raises(
        InputError, match=r"artifact=m: a head of kind detection with outputs scores .*; export it again"
    ):
        open_artifact("m", told)
    told.heads = {"detection": {"kind": "detection"}}
    with pytest.raises(InputError, match=r"artifact=m: its header does not fit, in heads \('outputs'\)"):
        open_artifact("m", told)


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, content: bytes) -> int:
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match=r"model\.onnx: the disk is full; free some space"):
        write_whole(tmp_path / "model.onnx", b"x")
    assert list(tmp_path.iterdir()) == []


class Pictures:
    """A training split of a few images."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Sample:
        image = picture(SIZE, SIZE, index)
        return Sample(image=image, image_id=index, size=(SIZE, SIZE))

    def path(self, index: int) -> Path:
        return Path(f"{index}.jpg")


def test_calibration_says_what_it_was_done_on(tmp_path: Path) -> None:
    def same(sample: Sample, seed: int) -> Sample:
        return sample

    config = ExportConfig(precision=Precision.int8, calibration_images=2)
    data: Any = Pictures()
    views, told = calibrate_on(config, data, same, size=SIZE, padding=[0, 0, 0])
    assert [view.shape for view in views] == [(SIZE, SIZE, 3)] * 2
    assert told == {"source": "training data", "of": 3, "pictures": ["0.jpg", "2.jpg"]}
    config.calibration_images = 4
    with pytest.raises(InputError) as raised:
        calibrate_on(config, data, same, size=SIZE, padding=[0, 0, 0])
    assert str(raised.value) == (
        "export.calibration_images=4: the training data has 3 images; say export.calibration_images=3, or name more"
        " by export.calibration_source=FOLDER"
    )
    (tmp_path / "a.jpg").write_bytes(jpeg(picture(SIZE, SIZE)))
    config.calibration_images, config.calibration_source = 1, str(tmp_path)
    assert calibrate_on(config, None, same, size=SIZE, padding=[0, 0, 0]).told["pictures"] == ["a.jpg"]


def test_differences_are_the_largest_of_every_output() -> None:
    wanted = [[np.float32([1, 2]), np.uint8([1, 2, 3, 4])]]
    found = differences(
        lambda view: [np.float32([1, 2.5]), np.uint8([1, 2, 3, 0])], [picture(2, 2)], wanted, ["a", "b"]
    )
    assert found == {"a": 0.5, "b": 0.25}
    with pytest.raises(InputError, match=r"a is \(1,\), and \(2,\) in PyTorch"):
        differences(lambda view: [np.float32([1]), np.uint8([1])], [picture(2, 2)], wanted, ["a", "b"])


def test_differences_of_detections_are_those_of_the_ones_that_meet() -> None:
    """Theirs: three and padding. Ours: the second and first in the other order, of another class the third."""

    def three(boxes: list[list[float]], scores: list[float], labels: list[int]) -> list[Any]:
        return [np.float32([boxes]), np.float32([scores]), np.int64([labels])]

    a, b, c, none = [0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1], [0, 0.5, 0.5, 1], [0.0] * 4
    theirs = three([a, b, c, none], [0.9, 0.8, 0.7, 0], [1, 1, 2, 0])
    ours = three([b, [0, 0, 0.5, 0.4], c, none], [0.82, 0.81, 0.7, 0], [1, 1, 0, 0])
    names = ["x.boxes", "x.scores", "x.labels"]
    found = differences(lambda view: ours, [picture(2, 2)], [theirs], names)
    assert found == pytest.approx({"x.boxes": 0.1, "x.scores": 0.09, "x.labels": 1 / 3}, abs=1e-6)
    nothing = three([none] * 4, [0] * 4, [0] * 4)
    assert differences(lambda view: ours, [picture(2, 2)], [nothing], names) == dict.fromkeys(names, 0)
    assert differences(lambda view: nothing, [picture(2, 2)], [theirs], names) == dict(
        zip(names, (0, 0, 1), strict=True)
    )


@pytest.mark.parametrize(("name", "least"), [("calibration_images", 1), ("compared_images", 1), ("passes", 0)])
def test_numbers_out_of_range(name: str, least: int) -> None:
    with pytest.raises(InputError, match=f"export.{name}={least - 1}: must be at least {least}"):
        ExportConfig(**{name: least - 1})


def test_layers_without_8_bits() -> None:
    with pytest.raises(InputError, match=r"export.layers=true: needs export.precision=int8, not fp32"):
        ExportConfig(layers=True)


def test_calibration_without_8_bits() -> None:
    with pytest.raises(InputError, match=r"export.calibration_source=x: needs export.precision=int8, not fp32"):
        ExportConfig(calibration_source="x")
