"""The commands that the documentation prints, run as printed with words behind them that make them small.

Every command is in one of the tables here: run on data drawn for the purpose, run on real data, or named with the test
that runs such words, or with what it needs.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file

from tests.data.builders import box_entry, image_entry, jpeg, picture, voc_object, voc_xml, write_coco_split, write_voc
from tests.e2e.command import TINY, trident
from tests.real_data import ROOT, THERE
from tests.test_docs import FENCE, PAGES, commands

COCO = "data=coco data.root=FOLDER"
FIRST = "task=detection backbone.width=1.0 run_dir=runs/first"
MODEL = "runs/first/model.safetensors"
DRAWN = [
    FIRST,
    "mode=predict checkpoint=runs/first/model.safetensors source=photos/",
    "mode=predict checkpoint=FILE source=photos/",
    "mode=evaluate checkpoint=FILE",
    f"mode=inspect task=detection {COCO}",
    f"task=detection {COCO}",
    f"task=detection {COCO} data.train_split=train data.val_split=val",
    f"task=detection {COCO} run_dir=runs/coco",
    "mode=evaluate predictions=FILE data=coco data.annotations=FILE",
    f"mode=pack task=detection {COCO} run_dir=SHARDS",
    "task=detection data=shards data.root=SHARDS",
    "task=detection data=voc data.root=FOLDER",
    "task=detection data=voc data.root=FOLDER backbone.weights=FILE",
    "data=voc data.root=FOLDER checkpoint=runs/first/model.safetensors",
    "checkpoint=runs/first/model.safetensors data=voc data.root=FOLDER",
    "task=segmentation data=masks data.root=FOLDER data.classes=[road,sky]",
    "task=segmentation data=voc data.root=FOLDER",
    "task=classification data=folder data.root=FOLDER",
    "task=multitask",
    "mode=profile backbone=mobilenet_v2 backbone.width=0.5 transform.image_size=320",
    "mode=profile backbone=mobilenet_v3_small task=classification",
    "mode=profile backbone.width=0.5 transform.image_size=320",
    "--help",
    "--help optim.ema_decay",
    "--help head",
]
"""In this order: some use what others wrote."""
PUBLIC = "task=detection data=voc data.root=FOLDER"
REAL = {
    f"{PUBLIC} backbone.weights=mobilenet_v2.safetensors optim.learning_rate=0.02": "bccd",
    "task=classification mode=evaluate data=imagenet data.root=FOLDER checkpoint=mobilenet_v2.safetensors": "imagenet",
    f"task=detection mode=evaluate {COCO} data.classes=[person] checkpoint=frozen_inference_graph.pb": "coco",
    f"{PUBLIC} checkpoint=frozen_inference_graph.pb predict.classes=[person] optim.learning_rate=0.02": "bccd",
}
"""The folder of the data of each."""
FILES = {
    "mobilenet_v2.safetensors": "weights/mobilenet_v2_1.0_224_imagenet_tf.safetensors",
    "frozen_inference_graph.pb": "tensorflow/ssdlite_mobilenet_v2_pedestrian.pb",
}
YOLO, CONVERT, TUNE = "tests/data/test_yolo.py", "tests/commands/convert/test_convert.py", "tests/e2e/test_fine_tune.py"
LOGGERS = "tests/engines/test_loggers.py"
ELSEWHERE = {
    "task=classification data=imagenet data.root=FOLDER": "tests/data/test_imagenet.py",
    "task=detection data=yolo data.root=FOLDER": YOLO,
    "task=segmentation data=yolo data.root=FOLDER": YOLO,
    "task=detection data=voc data.root=FOLDER data.split=0.2": "tests/data/test_division.py",
    "mode=convert task=detection data=voc data.root=FOLDER convert.format=yolo convert.output=NEW": CONVERT,
    "mode=convert task=segmentation data=masks data.root=FOLDER data.classes=[background,road] convert.format=coco"
    " convert.output=NEW": CONVERT,
    "experiment=fine_tune data.root=FOLDER backbone.weights=FILE": TUNE,
    "experiment=fine_tune task=segmentation data=voc data.root=VOCdevkit backbone.weights=FILE transform.image_size=321"
    " data.batch_size=8 trainer.max_steps=600 trainer.precision=bf16-mixed trainer.validate_every=3 seed=0": TUNE,
    "experiment=fine_tune task=detection data=voc data.root=FOLDER backbone.weights=FILE": TUNE,
    "experiment=fine_tune task=detection data=voc data.root=FOLDER backbone.weights=FILE trainer.minutes=60": TUNE,
    "experiment=fine_tune task=detection data=voc data.root=bccd data.bad_boxes=drop backbone.weights=FILE"
    " data.batch_size=16 trainer.max_steps=400 trainer.precision=bf16-mixed seed=0": TUNE,
    "experiment=fine_tune task=segmentation data=masks data.root=FOLDER data.classes=[road,sky]"
    " backbone.weights=FILE": TUNE,
    "mode=search search=blocks task=classification data=folder data.root=FOLDER search.multiply_adds=60"
    " run_dir=runs/blocks": "tests/e2e/test_search.py",
    "mode=profile task=classification profile.sweep=true profile.networks=[mobilenet_v1,mobilenet_v3_large]"
    " profile.widths=[0.75,1.0] profile.sizes=[224]": "tests/commands/profile/test_profile.py",
    "-m task=classification,segmentation,detection backbone=mobilenet_v1,mobilenet_v2,mobilenet_v3_large,"
    "mobilenet_v3_small,mobilenet_v4_small,mobilenet_v4_medium backbone.width=0.5 trainer.max_steps=400"
    " data.val_scenes=400 run_dir=runs/networks": "tests/commands/sweep/test_sweep.py",
    "mode=demo checkpoint=FILE": "tests/e2e/test_demo.py",
    "mode=demo checkpoint=runs/first/model.safetensors": "tests/e2e/test_demo.py",
    "mode=export checkpoint=FILE export=web": "tests/e2e/test_web.py",
    "mode=export checkpoint=FILE export=web run_dir=runs/page": "tests/e2e/test_web.py",
    "mode=export checkpoint=FILE export=onnx export.precision=int8": "tests/e2e/test_export.py",
    "mode=evaluate artifact=FILE": "tests/e2e/test_export.py",
    "mode=predict artifact=FILE source=photos/": "tests/e2e/test_export.py",
    "mode=latency task=detection latency.runtime=onnx latency.threads=1": "tests/search/test_latency.py",
    "mode=search checkpoint=FILE data.root=FOLDER search.latency=12 run_dir=FOLDER": "tests/e2e/test_search.py",
    "mode=search checkpoint=FILE task=detection data=voc data.root=bccd data.bad_boxes=drop transform.image_size=192"
    " data.batch_size=8 search.latency=3 latency.runtime=onnx search.first_step=0.05 search.step_decay=1"
    " search.short_steps=12 search.distill_weight=1 search.long_steps=400 search.learning_rate=0.01 seed=0"
    " run_dir=runs/small": "tests/e2e/test_search.py",
    "mode=search checkpoint=FILE data.root=FOLDER search.latency=12 latency.runtime=onnx run_dir=runs/small": (
        "tests/e2e/test_search.py"
    ),
    "mode=profile profile.table=6": "tests/commands/profile/test_profile.py",
    "-m backbone.width=0.35,0.5 transform.image_size=128,224 run_dir=runs/sizes": "tests/commands/sweep/test_sweep.py",
    "-m experiment=ablation_linear_bottleneck": "tests/commands/sweep/test_ablations.py",
    "--config-dir=examples/foreign_project head=centre": "tests/e2e/test_examples.py",
    f"task=detection {COCO} trainer=ddp trainer.devices=4 optim.scale_learning_rate=192": (
        "tests/e2e/test_distributed.py"
    ),
    f"task=detection {COCO} trainer=ddp run_dir=/shared/run": "tests/e2e/test_distributed.py",
    f"task=detection {COCO} logger=wandb logger.project=boxes": LOGGERS,
    f"task=detection {COCO} logger=wandb logger.offline=true run_dir=runs/coco": LOGGERS,
    f"task=detection {COCO} logger=mlflow logger.tracking_uri=http://localhost:5000 run_dir=runs/coco": LOGGERS,
}
"""What takes long, or other tools or machines, and the test of it."""
NETWORK = [
    "task=segmentation mode=evaluate data=voc data.root=FOLDER checkpoint=hf:google/deeplabv3_mobilenet_v2_1.0_513",
    "task=segmentation mode=evaluate data=voc data.root=FOLDER backbone=mobilenet_v3_large head=lraspp"
    " checkpoint=torchvision:lraspp_mobilenet_v3_large",
    "task=detection mode=evaluate data=coco data.root=FOLDER backbone=mobilenet_v3_large"
    " checkpoint=torchvision:ssdlite320_mobilenet_v3_large",
]
"""Needs a network; tests/test_docs.py composes it."""
SMALL = ("data.batch_size=2", "data.workers=0", "evaluation.drawn_images=2", "trainer.max_steps=2")
NARROW = ("backbone.width=0.1", "transform.image_size=64")


def words_of(told: str) -> str:
    """A command's words without what starts it."""
    words = told.partition(": ")[2].split()
    return " ".join(words[words.index("tasks.run" if "tasks.run" in words else "trident") + 1 :])


def test_every_command_is_run_somewhere() -> None:
    assert {words_of(told) for told in commands()} == {*DRAWN, *REAL, *ELSEWHERE, *NETWORK}
    assert all(Path(__file__).resolve().parents[2].joinpath(test).is_file() for test in ELSEWHERE.values())


def draw(folder: Path) -> None:
    """Data of every format, tiny."""
    (folder / "photos").mkdir()
    (folder / "photos" / "a.jpg").write_bytes(jpeg(picture(48, 64)))
    for train, val in (("train2017", "val2017"), ("train", "val")):
        for split in (train, val):
            images = [image_entry(number) for number in range(1, 5)]
            boxes = [box_entry(number, number, [5, 5, 30, 20], (7, 2)[number % 2]) for number in range(1, 5)]
            write_coco_split(folder / "coco", images, boxes, split=split)
    for number, path in enumerate(sorted((folder / "coco").rglob("*.jpg"))):  # no image is in two splits
        path.write_bytes(jpeg(picture(40, 60, number)))
    annotations = {name: voc_xml(voc_object("cat", 5, 5, 40, 30)) for name in ("a", "b", "c")}
    write_voc(folder / "voc", {"train": annotations, "val": {"d": annotations["a"]}})
    voc = folder / "voc"
    (voc / "ImageSets" / "Segmentation").mkdir()
    (voc / "SegmentationClass").mkdir()
    for split in ("train", "val"):
        listed = (voc / "ImageSets" / "Main" / f"{split}.txt").read_text()
        (voc / "ImageSets" / "Segmentation" / f"{split}.txt").write_text(listed)
        for name in listed.split():
            Image.fromarray(halves(0, 8)).save(voc / "SegmentationClass" / f"{name}.png")
        for number in range(3):
            for kind, value in (("images", None), ("masks", halves(0, 1))):
                place = folder / "masks" / kind / split
                place.mkdir(parents=True, exist_ok=True)
                image = picture(40, 60, number) if value is None else value
                Image.fromarray(image).save(place / f"{number}.{'jpg' if value is None else 'png'}")
            for label in ("ant", "bee"):
                place = folder / "folder" / split / label
                place.mkdir(parents=True, exist_ok=True)
                (place / f"{number}.jpg").write_bytes(jpeg(picture(40, 60, number + 9 * (label == "bee"))))


def halves(left: int, right: int) -> np.ndarray:
    """A mask (40, 60) of two values."""
    mask = np.full((40, 60), left, np.uint8)
    mask[:, 30:] = right
    return mask


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands run."""
    folder = tmp_path_factory.mktemp("commands")
    draw(folder)
    return folder


def filled(words: list[str]) -> list[str]:
    """With files and folders in place of FILE and FOLDER, which depend on the data."""
    data = next((word.partition("=")[2] for word in words if word.startswith("data=")), "shapes")
    files = {
        "predictions": "runs/coco/predictions.json",
        "data.annotations": "coco/annotations/instances_val2017.json",
        "data.root": data,
    }
    return [
        f"{key}={files.get(key, MODEL)}" if value in ("FILE", "FOLDER") else word
        for word in words
        for key, _, value in [word.partition("=")]
    ]


def small(words: list[str], number: int) -> list[str]:
    """What is said behind a command, so that it takes a second or two."""
    key = {word.partition("=")[0]: word.partition("=")[2] for word in words}
    mode = key.get("mode", "train")
    more = [] if "run_dir" in key or mode == "demo" else [f"run_dir=out/{number}"]
    if mode == "profile":
        return [*more, *NARROW, "profile.passes=1"]
    if mode == "predict" or "predictions" in key:
        return more
    if mode in ("inspect", "pack"):
        return [*more, "data.workers=0"]
    if mode == "evaluate":
        return [*more, "data.workers=0", "evaluation.drawn_images=2"]
    if "data" not in key:
        return [*more, *TINY, f"data.root=scenes_{key['task']}"]
    return [*more, *SMALL, *(() if "checkpoint" in key else NARROW)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("number", range(len(DRAWN)), ids=[str(number) for number in range(len(DRAWN))])
def test_commands_run(number: int, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    words = filled(shlex.split(DRAWN[number]))
    more = [] if "--help" in words else small(words, number)
    assert trident(monkeypatch, *words, *more) == 0, " ".join([*words, *more])
    if DRAWN[number] == FIRST:
        assert {"map", "map_50"} <= set(json.loads((place / "runs/first/metrics.json").read_text())["val"])


def test_python_that_pages_show_runs(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What pages show of files is run by tests of those."""
    monkeypatch.chdir(place)
    save_file(torchvision.models.mobilenet_v2().state_dict(), "mobilenet_v2.safetensors")
    texts = [path.read_text(encoding="utf-8") for path in PAGES]
    blocks = [code for text in texts for kind, code in FENCE.findall(text) if kind == "python"]
    ours = [code for code in blocks if not code.startswith("--8<--")]
    assert ours
    for code in ours:
        names: dict[str, Any] = {"images": torch.rand(1, 3, 64, 64)}
        exec(code, names)  # noqa: S102 - our own
        assert list(names["features"]) == ["stage3", "stage6.expand", "last"]


@THERE
@pytest.mark.real_data
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("number", range(len(REAL)), ids=[str(number) for number in range(len(REAL))])
def test_commands_run_on_real_data(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told, data = list(REAL.items())[number]
    words = [word.replace("data.root=FOLDER", f"data.root={ROOT / data}") for word in shlex.split(told)]
    for name, file in FILES.items():
        words = [word.replace(f"={name}", f"={ROOT / file}") for word in words]
    more = [f"run_dir={tmp_path / 'run'}", "data.workers=0", "evaluation.drawn_images=2"]
    if "mode=evaluate" not in words:
        more += ["data.batch_size=2", "trainer.max_steps=2"]
    if data == "bccd":
        more.append("data.bad_boxes=drop")  # one of its boxes has no area
    assert trident(monkeypatch, *words, *more) == 0, " ".join([*words, *more])
