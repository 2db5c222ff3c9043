"""mode=predict through the command line, and the same from Python."""

from __future__ import annotations

import csv
import json
import os
import runpy
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO

from tasks.predict import load, read_image
from tasks.predictor import Predictor
from tests.data.builders import jpeg, picture
from tests.e2e.command import tiny_run, trident
from tests.file_server import Server

if TYPE_CHECKING:
    from collections.abc import Callable

    Predict = Callable[..., int]

ROOT = Path(__file__).resolve().parents[2]
TURNED = 6
"""EXIF: the camera was held upright."""


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        for task in ("detection", "segmentation", "classification"):
            folder = tmp_path_factory.mktemp(task)
            assert tiny_run(patch, folder, f"task={task}", "trainer.max_steps=1") == 0
            made[task] = folder / "run" / "model.safetensors"
    return made


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two of one name, one turned by EXIF, one of another format beside one of the same name."""
    root = tmp_path / "photos"
    (root / "sub").mkdir(parents=True)
    (root / "a.jpg").write_bytes(jpeg(picture(48, 80)))
    (root / "sub" / "a.jpg").write_bytes(jpeg(picture(60, 50, 1)))
    Image.fromarray(picture(40, 30, 2)).save(root / "a.png")
    exif = Image.Exif()
    exif[0x0112] = TURNED
    Image.fromarray(picture(50, 90, 3)).save(root / "turned.jpg", exif=exif)
    return root


@pytest.fixture
def predict(monkeypatch: pytest.MonkeyPatch, checkpoints: dict[str, Path]) -> Predict:
    def run(task: str, source: object, run_dir: Path, *words: str) -> int:
        return trident(
            monkeypatch, "mode=predict", f"checkpoint={checkpoints[task]}", f"source={source}", f"run_dir={run_dir}",
            "predict.score=0", *words,
        )  # fmt: skip

    return run


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_detections_of_a_folder(
    predict: Predict, photos: Path, tmp_path: Path, checkpoints: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert predict("detection", photos, out) == 0
    drawn = {path.relative_to(out / "pictures").as_posix() for path in (out / "pictures").rglob("*.jpg")}
    assert drawn == {"a.jpg", "a.png.jpg", "sub/a.jpg", "turned.jpg"}
    capsys.readouterr()
    truth = COCO(str(out / "images.json"))
    results = truth.loadRes(str(out / "detections.json"))
    places = {image["file_name"]: image for image in truth.dataset["images"]}
    assert (places["turned.jpg"]["height"], places["turned.jpg"]["width"]) == (90, 50)
    for image in truth.dataset["images"]:
        with Image.open(out / "pictures" / ("a.png.jpg" if image["file_name"] == "a.png" else image["file_name"])) as p:
            assert p.size == (image["width"], image["height"])
    model = load(checkpoints["detection"])
    answer: Any = model(read_image(photos / "turned.jpg"))["detection"]
    rows = results.loadAnns(results.getAnnIds(places["turned.jpg"]["id"]))
    assert [row["score"] for row in rows] == pytest.approx(answer.scores.tolist(), abs=1e-5)
    names = {category["id"]: category["name"] for category in truth.dataset["categories"]}
    wanted = [model.labels["detection"].names[label] for label in answer.labels]
    assert [names[row["category_id"]] for row in rows] == wanted
    corners = answer.boxes_xyxy_px.numpy()
    assert np.allclose(
        [row["bbox"] for row in rows], np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]]), atol=0.01
    )


def test_what_evaluation_finds_is_what_prediction_finds(
    predict: Predict, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    run = checkpoints["detection"].parent
    scenes = run.parent / "scenes"
    assert predict("detection", scenes / "val", tmp_path / "out", "predict.batch_size=4", "predict.pictures=false") == 0
    assert not (tmp_path / "out" / "pictures").exists()
    stated = json.loads(next((scenes / "annotations").glob("*val*")).read_text())
    ids = {image["file_name"]: image["id"] for image in stated["images"]}
    ours = {
        image["id"]: ids[image["file_name"]]
        for image in json.loads((tmp_path / "out/images.json").read_text())["images"]
    }

    def rows(path: Path, number: Callable[[int], int]) -> list[tuple[Any, ...]]:
        found = json.loads(path.read_text())
        return sorted((number(row["image_id"]), row["category_id"], *row["bbox"], row["score"]) for row in found)

    one, other = rows(run / "predictions.json", int), rows(tmp_path / "out/detections.json", ours.__getitem__)
    assert np.allclose(one, other, atol=2e-3)


def test_masks_keep_the_size_of_their_pictures(
    predict: Predict, photos: Path, tmp_path: Path, checkpoints: dict[str, Path]
) -> None:
    out = tmp_path / "out"
    assert predict("segmentation", photos, out, "predict.max_side=64") == 0
    masks = {row["file"]: row["mask"] for row in table(out / "masks.csv")}
    assert masks["sub/a.jpg"] == "masks/sub/a.png"
    assert "2 were larger than 64 pixels and were looked at shrunk" in (out / "run.log").read_text()
    model = load(checkpoints["segmentation"], "predict.max_side=64")
    for file, mask in masks.items():
        image = read_image(photos / file)
        with Image.open(out / mask) as written:
            assert written.mode == "P"
            assert np.array_equal(np.asarray(written), model(image)["segmentation"].mask)  # type: ignore[union-attr]
        with Image.open(out / "pictures" / f"{Path(mask).relative_to('masks').with_suffix('')}.jpg") as drawn:
            assert drawn.size == image.shape[1::-1]


def test_public_weights_answer_as_where_they_come_from(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The oracle is torchvision's model on the very pixels: nothing is resized."""
    from torchvision.models import MobileNet_V2_Weights, mobilenet_v2

    torch.manual_seed(0)
    theirs = mobilenet_v2(width_mult=0.35).eval()
    image = picture(256, 256)
    middle = torch.from_numpy(image[16:240, 16:240].copy()).permute(2, 0, 1)[None] / 255
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    seen = (middle - mean) / std
    features = theirs.features(seen).mean(dim=(2, 3))
    torch.nn.init.normal_(theirs.classifier[1].weight, std=3 / features.norm().item())
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    Image.fromarray(image).save(tmp_path / "x.png")
    words = (f"checkpoint={tmp_path / 'weights.pth'}", f"source={tmp_path / 'x.png'}", "backbone.width=0.35")
    out = f"run_dir={tmp_path / 'out'}"
    assert trident(monkeypatch, "mode=predict", "task=classification", *words, out) == 0
    scores = theirs(seen).softmax(dim=1)[0]
    names = MobileNet_V2_Weights.IMAGENET1K_V1.meta["categories"]
    rows = table(tmp_path / "out" / "classes.csv")
    assert [row["class"] for row in rows] == [names[i] for i in scores.argsort(descending=True)[:5]]
    wanted = scores.sort(descending=True).values[:5].tolist()
    assert wanted[0] > 0.02, "chance is 0.001"
    assert [float(row["probability"]) for row in rows] == pytest.approx(wanted, abs=1e-5)
    assert [(row["file"], row["rank"]) for row in rows] == [("x.png", str(rank)) for rank in range(1, 6)]

    assert trident(monkeypatch, "mode=predict", "task=detection", *words, f"run_dir={tmp_path / 'b'}") == 2
    assert "does not name its classes; say predict.classes=" in capsys.readouterr().err
    named = ("task=classification", "predict.classes=[a,b]", f"run_dir={tmp_path / 'c'}")
    assert trident(monkeypatch, "mode=predict", *words, *named) == 2
    assert "its head does not fit" in capsys.readouterr().err


def test_goes_on_where_it_stopped(
    predict: Predict, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert predict("classification", photos, out) == 0
    before = {path: path.stat().st_mtime_ns for path in (out / "pictures").rglob("*.jpg")}
    (photos / "0.jpg").write_bytes(jpeg(picture(30, 30, 9)))
    (photos / "sub" / "a.jpg").write_bytes(jpeg(picture(20, 70, 5)))
    capsys.readouterr()
    assert predict("classification", photos, out, "predict.batch_size=1") == 0
    assert "3 of 5 images were answered before" in capsys.readouterr().out
    kept = {path for path, when in before.items() if path.stat().st_mtime_ns == when}
    assert {path.relative_to(out / "pictures").as_posix() for path in before.keys() - kept} == {"sub/a.jpg"}
    images = json.loads((out / "images.json").read_text())["images"]
    assert {image["file_name"]: image["id"] for image in images} == {
        "a.jpg": 1, "a.png": 2, "sub/a.jpg": 3, "turned.jpg": 4, "0.jpg": 5,
    }  # fmt: skip
    assert len(table(out / "classes.csv")) == 5 * 5
    assert predict("classification", photos, out, "predict.top=2") == 2
    assert "was begun with predict.top=5, and now it is 2" in capsys.readouterr().err


def test_ctrl_c_leaves_whole_files(
    predict: Predict, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = Predictor.predict
    calls = []

    def interrupted(self: Predictor, *given: Any) -> Any:
        calls.append(given)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return answer(self, *given)

    monkeypatch.setattr(Predictor, "predict", interrupted)
    out = tmp_path / "out"
    assert predict("detection", photos, out, "predict.batch_size=1") == 130
    assert "stopping: writing what there is" in capsys.readouterr().out
    assert len(json.loads((out / "images.json").read_text())["images"]) == 2
    assert {row["image_id"] for row in json.loads((out / "detections.json").read_text())} <= {1, 2}
    assert predict("detection", photos, out, "predict.batch_size=1") == 0
    assert len(calls) == 4
    assert len(json.loads((out / "images.json").read_text())["images"]) == 4
    assert not list(out.rglob("*.part"))


def test_broken_pictures_are_said_and_the_others_done(
    predict: Predict, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = jpeg(picture(60, 60))
    (photos / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "text.png").write_text("no image")
    out = tmp_path / "out"
    assert predict("detection", photos, out) == 2
    said = capsys.readouterr()
    assert "2 of 6 images could not be read, the first is cut.jpg;" in said.err
    assert "cut.jpg: broken JPEG" in said.out
    assert [row["file"] for row in table(out / "failed.csv")] == ["cut.jpg", "text.png"]
    assert len(json.loads((out / "images.json").read_text())["images"]) == 4
    (photos / "cut.jpg").write_bytes(whole)
    (photos / "text.png").unlink()
    assert predict("detection", photos, out) == 0
    assert not (out / "failed.csv").exists()
    assert len(json.loads((out / "images.json").read_text())["images"]) == 5


def test_addresses(predict: Predict, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Server() as server:
        server.files = {"a.jpg": jpeg(picture(30, 40)), "b.jpg": jpeg(picture(30, 40, 1))}
        lines = [server.url("a.jpg"), server.url("b.jpg"), server.url("none.jpg"), "photos/a.png"]
        (tmp_path / "list.txt").write_text("\n".join(lines), encoding="utf-8")
        out = tmp_path / "out"
        assert predict("classification", tmp_path / "list.txt", out) == 2
        assert "1 of 4 images could not be read" in capsys.readouterr().err
        assert "HTTP 404" in table(out / "failed.csv")[0]["reason"]
        assert {row["file"] for row in table(out / "classes.csv")} == {*lines[:2], lines[3]}
        assert predict("classification", server.url("a.jpg"), tmp_path / "one") == 0


def test_an_address_that_gave_no_picture_is_asked_anew(predict: Predict, tmp_path: Path) -> None:
    with Server() as server:
        server.files["a.jpg"] = b"<html>log in</html>"
        out = tmp_path / "out"
        assert predict("classification", server.url("a.jpg"), out) == 2
        server.files["a.jpg"] = jpeg(picture(30, 40))
        assert predict("classification", server.url("a.jpg"), out) == 0
        assert len(server.asked) == 2
        assert predict("classification", server.url("a.jpg"), out) == 0
        assert len(server.asked) == 2, "what was answered is not asked for again"


def test_bad_lines_of_a_list_are_failures_of_their_own(
    predict: Predict, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    closed = "http://127.0.0.1:9/"
    lines = [
        ".",
        "..",
        "nul\0.jpg",
        "x y.jpg",
        "long" * 99,
        "http://[::1",
        "http://",
        f"{closed}caf\u00e9.jpg",
        f"{closed}a b",
    ]
    (tmp_path / "list.txt").write_text("\n".join(["photos/a.png", *lines]), encoding="utf-8")
    out = tmp_path / "out"
    for _ in range(2):
        assert predict("classification", tmp_path / "list.txt", out, "predict.pictures=false") == 2
        assert f"{len(lines)} of {len(lines) + 1} images could not be read" in capsys.readouterr().err
        assert [row["file"] for row in table(out / "failed.csv")] == lines
        assert {row["file"] for row in table(out / "classes.csv")} == {"photos/a.png"}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_file_name_that_is_no_text(predict: Predict, photos: Path, tmp_path: Path) -> None:
    (photos / "a.png").rename(os.fsdecode(os.fsencode(photos) + b"/\xff.png"))
    out = tmp_path / "out"
    assert predict("classification", photos, out) == 0
    assert predict("classification", photos, out) == 0, "and goes on with what it wrote"
    names = [image["file_name"] for image in json.loads((out / "images.json").read_text())["images"]]
    assert "\udcff.png" in names


def test_a_video(predict: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"MJPG"), 5, (64, 48))
    for number in range(5):
        writer.write(picture(48, 64, number))
    writer.release()
    out = tmp_path / "out"
    assert predict("segmentation", clip, out) == 0
    drawn = cv2.VideoCapture(str(out / "pictures" / "clip.mp4"))
    assert [drawn.get(what) for what in (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FPS)] == [5, 5]
    assert (drawn.get(cv2.CAP_PROP_FRAME_WIDTH), drawn.get(cv2.CAP_PROP_FRAME_HEIGHT)) == (64, 48)
    assert len(list((out / "masks" / "clip").glob("*.png"))) == 5
    assert [image["frame"] for image in json.loads((out / "images.json").read_text())["images"]] == [0, 1, 2, 3, 4]
    assert predict("segmentation", clip, out) == 2
    assert "is not empty, and a video starts from its beginning" in capsys.readouterr().err
    words = ("predict.video=frames", "predict.max_frames=2")
    assert predict("classification", clip, tmp_path / "frames", *words) == 0
    assert sorted(path.name for path in (tmp_path / "frames" / "pictures" / "clip").iterdir()) == [
        "000000.jpg", "000001.jpg",
    ]  # fmt: skip
    assert [row["file"] for row in table(tmp_path / "frames" / "classes.csv")][::5] == [f"{clip}#0", f"{clip}#1"]


WRONG = [
    (("source=x.jpg", "mode=train"), "source=x.jpg: needs mode=predict"),
    (("mode=predict", "source=x.jpg"), "mode=predict: give checkpoint=FILE or artifact=FILE, and source="),
    (("mode=predict", "checkpoint=none.safetensors", "source=x.jpg"), "checkpoint=none.safetensors: no such file"),
    (("predict.batch_size=0",), "predict.batch_size=0: must be at least 1"),
    (("predict.score=2",), "predict.score=2: must be in [0, 1]"),
    (("predict.max_side=3",), "predict.max_side=3: must be at least 32 pixels, or null"),
]


@pytest.mark.parametrize(("words", "message"), WRONG)
def test_wrong_words(
    words: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trident(monkeypatch, *words) == 2
    assert message in capsys.readouterr().err


def test_bad_input(predict: Predict, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    wrong = {
        (photos / "none", ()): "none: there is no such file or folder",
        (photos, ("task=segmentation",)): "holds task=detection, but the command says task=segmentation",
        (photos, ("predict.classes=[a]",)): "knows the names of its classes; leave it out",
        (photos, ("trainer.accelerator=abacus",)): "trainer.accelerator=abacus",
    }
    for (source, words), message in wrong.items():
        assert predict("detection", source, out, *words) == 2
        assert message in capsys.readouterr().err
        assert not out.exists()
    out.mkdir()
    (out / "mine.txt").touch()
    assert predict("detection", photos, out) == 2
    assert "is not empty; name another folder" in capsys.readouterr().err
    assert predict("detection", photos, out / "mine.txt" / "below") == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_folder_in_the_way(
    predict: Predict, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert predict("detection", photos, out, "predict.pictures=true") == 0
    (photos / "late").mkdir()
    (photos / "late" / "x.jpg").write_bytes(jpeg(picture(20, 20)))
    (out / "pictures" / "late").touch()
    assert predict("detection", photos, out) == 2
    assert "x.jpg: cannot be written" in capsys.readouterr().err


def test_from_python(
    checkpoints: dict[str, Path], photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    words = ["x", str(checkpoints["detection"]), str(photos / "a.jpg"), str(tmp_path / "drawn.png")]
    monkeypatch.setattr(sys, "argv", words)
    runpy.run_path(str(ROOT / "examples" / "predict_in_python.py"))
    assert capsys.readouterr().out.startswith("detection: ")
    with Image.open(tmp_path / "drawn.png") as drawn:
        assert drawn.size == (80, 48)
