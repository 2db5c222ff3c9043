"""Annotations of others: COCO's JSON, results files, VOC's XML, MAT files, class lists."""

from __future__ import annotations

import io
import json
import math
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.io import savemat

from tasks.data.config import BadBoxes
from tasks.data.formats.coco.boxes import CocoDetection
from tasks.data.formats.coco.masks import CocoSegmentation
from tasks.data.formats.coco.results import load_annotations, load_results
from tasks.data.formats.imagenet_classes import read_classes, read_devkit
from tasks.data.formats.voc.boxes import VocDetection
from tasks.data.formats.voc.sbd import read_mat
from tests.data.builders import box_entry, image_entry, voc_object, voc_xml, write_coco_split, write_voc
from tests.fuzz.campaign import Surface, check
from tests.fuzz.mutations import TEXTS, json_bytes, maybe_damaged, value

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

SQUARE = [[4.0, 4.0, 20.0, 4.0, 20.0, 20.0, 4.0, 20.0]]
RUNS = {"size": [40, 60], "counts": [100, 50, 2250]}


def coco(folder: Path) -> dict[str, Any]:
    """A valid split; gives its contents."""
    images = [image_entry(1), image_entry(5)]
    objects = [
        box_entry(1, 1, [4.0, 4.0, 16.0, 16.0], 7, iscrowd=0, segmentation=SQUARE),
        box_entry(2, 1, [0, 0, 60, 40], 2, iscrowd=1, segmentation=RUNS),
        box_entry(3, 5, [1.5, 2.25, 3.0, 4.0], 90, segmentation={"size": [40, 60], "counts": "d22Q1000000f1"}),
    ]
    write_coco_split(folder, images, objects)
    plain: dict[str, Any] = json.loads((folder / "annotations/instances_train2017.json").read_text())
    return plain


def try_boxes(rng: Random, folder: Path, valid: dict[str, Any]) -> None:
    file = folder / "annotations/instances_train2017.json"
    file.write_bytes(json_bytes(rng, valid))
    policy = rng.choice(list(BadBoxes))
    data = CocoDetection(folder, "train2017", policy)
    said = json.loads(file.read_bytes())
    truth = data.ground_truth()
    check([one["id"] for one in truth["images"]] == [one["id"] for one in said["images"]], "image ids")
    boxes = [[math.nan if one is None else float(one) for one in row["bbox"]] for row in said["annotations"]]
    for row in truth["annotations"]:
        check(all(map(math.isfinite, row["bbox"])) and math.isfinite(row["area"]), row)
        check(row["iscrowd"] in (0, 1) and row["bbox"] in boxes, row)
    if policy is BadBoxes.error:
        check(len(truth["annotations"]) == len(boxes), "boxes were lost without a word")
    for index in range(len(data)):
        sample = data[index]
        height, width = sample.size
        corners = np.asarray(sample.boxes_xyxy_px)
        check(bool(np.isfinite(corners).all()), corners)
        check(not len(corners) or (corners.min() >= 0 and bool((corners[:, 2:] <= [width, height]).all())), corners)


def with_voc_classes(folder: Path) -> dict[str, Any]:
    plain = coco(folder)
    for category, name in zip(plain["categories"], ("cat", "dog", "person"), strict=True):
        category["name"] = name
    return plain


def try_outlines(rng: Random, folder: Path, valid: dict[str, Any]) -> None:
    plain = json.loads(json.dumps(valid))
    if rng.random() < 0.6:
        row = rng.choice(plain["annotations"])
        outline = row["segmentation"]
        if isinstance(outline, list):
            outline[0][rng.randrange(8)] = rng.choice((0, -5, 61, 1e5, 1e8, 2147483648, -1e300, 1e308, "4", None, 0.5))
        else:
            key = rng.choice(("size", "counts"))
            outline[key] = rng.choice(
                (
                    value(rng), [40, 60], [60, 40], [2**31, 2**31], [2400], [0, 2400], [-1, 2401], [2**40], [1] * 2400,
                    "d22Q1000000f1", "0" * 50, "PPPPPPPPPPPPPPPPPP", "~" * 9, "\x7f\x80", [100, 50, 2250],
                )
            )  # fmt: skip
        content = json.dumps(plain).encode(errors="surrogatepass")
    else:
        content = json_bytes(rng, plain)
    file = folder / "annotations/instances_train2017.json"
    file.write_bytes(content)
    data = CocoSegmentation(folder, "train2017", bad_outlines=rng.choice(list(BadBoxes)))
    for index in range(len(data)):
        sample = data[index]
        check(sample.mask is not None and sample.mask.shape == sample.size, "mask of another size")
        assert sample.mask is not None
        check(bool(np.isin(sample.mask, (*range(21), 255)).all()), np.unique(sample.mask))


def with_results(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    coco(folder)
    truth = load_annotations(folder / "annotations/instances_train2017.json")
    rows = [
        {"image_id": image, "category_id": kind, "bbox": [1, 2.5, 3, 4], "score": score}
        for image, kind, score in ((1, 7, 0.5), (5, 90, 1.0), (1, 2, 0))
    ]
    return truth, rows


def try_results(rng: Random, folder: Path, valid: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    truth, rows = valid
    file = folder / "results.json"
    file.write_bytes(json_bytes(rng, rows))
    found = load_results(file, truth)
    check(found == json.loads(file.read_bytes()), "other values than the file's")
    for row in found:
        check(row["image_id"] in (1, 5) and type(row["image_id"]) is int and row["category_id"] in (2, 7, 90), row)
        check(all(map(math.isfinite, (*row["bbox"], row["score"]))) and min(row["bbox"][2:]) >= 0, row)


def voc(folder: Path) -> str:
    text = voc_xml(voc_object("cat", 2, 3, 30, 31) + voc_object("dog", 1, 1, 60, 40, 1))
    write_voc(folder, {"train": {"a": text}})
    return text


def hostile_xml(rng: Random, text: str) -> bytes:
    kind = rng.random()
    if kind < 0.5:
        root = ET.fromstring(text)
        for _ in range(rng.randint(1, 3)):
            node = rng.choice(list(root.iter()))
            changed = rng.random()
            if changed < 0.7:
                node.text = rng.choice((*TEXTS, "1", "0", "30", "1e5", "inf", "0x10", "1_0", "٣", "true", "yes", "2.5"))
            elif changed < 0.85 and len(node):
                node.remove(rng.choice(list(node)))
            else:
                node.append(ET.fromstring(voc_object("cat", 5, 5, 9, 9)))
        return ET.tostring(root, encoding="unicode").encode(errors="replace")
    if kind < 0.7:
        name = rng.choice(("utf-8", "utf-16", "latin-1", "shift_jis", "foo", "utf-7", "cp037", "ascii", ""))
        body = f'<?xml version="1.0" encoding="{name}"?>{text.replace("cat", "café")}'
        try:
            return body.encode(name if rng.random() < 0.7 else "utf-8")
        except (LookupError, UnicodeEncodeError):
            return body.encode()
    if kind < 0.8:
        entities = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(8))
        return f'<!DOCTYPE a [<!ENTITY e0 "ha">{entities}]>{text.replace("cat", "&e8;")}'.encode()
    if kind < 0.85:
        return rng.choice((b"<a>" * 100_000, b"", b"<", b"<a/>", text.encode()[:50], b'<a b="' + b"x" * 10**6))
    return maybe_damaged(rng, text.encode(), 0.9)


def try_voc(rng: Random, folder: Path, valid: str) -> None:
    file = folder / "Annotations/a.xml"
    content = hostile_xml(rng, valid)
    file.write_bytes(content)
    policy = rng.choice(list(BadBoxes))
    data = VocDetection(folder, "train", rng.choice((None, ["cat", "dog"])), policy)
    sample = data[0]
    boxes = np.asarray(sample.boxes_xyxy_px)
    check(bool(np.isfinite(boxes).all()) and (not len(boxes) or boxes.min() >= 0), boxes)
    try:
        root = ET.fromstring(content)
    except ValueError:  # an encoding that our reader knows, and this one does not
        return
    said = [[float(item.findtext(f"bndbox/{side}", "nan")) for side in ("xmin", "ymin", "xmax", "ymax")]
            for item in root.findall("object")]  # fmt: skip
    if policy is BadBoxes.error:
        check(len(said) == len(boxes), "boxes were lost without a word")
    truth = [row["bbox"] for row in data.ground_truth()["annotations"]]
    wanted = [[x - 1, y - 1, X - x + 1, Y - y + 1] for x, y, X, Y in said]
    check(all(box in wanted for box in truth), (truth, wanted))


def mats(_: Path) -> dict[str, bytes]:
    def saved(content: dict[str, Any], *, compressed: bool) -> bytes:
        file = io.BytesIO()
        savemat(file, content, do_compression=compressed)
        return file.getvalue()

    mask = np.zeros((7, 9), np.uint8)
    mask[2:5, 3:6] = 12
    synsets = np.zeros((2, 1), [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O")])
    for row, (number, wnid, words) in enumerate(((1, "n01440764", "tench, Tinca tinca"), (2, "n01443537", "goldfish"))):
        synsets[row, 0] = (np.array([[number]], np.uint16), wnid, words, np.array([[0]], np.uint8))
    found = {}
    for compressed in (False, True):
        found[f"mask {compressed}"] = saved({"GTcls": {"Segmentation": mask}}, compressed=compressed)
        found[f"synsets {compressed}"] = saved({"synsets": synsets}, compressed=compressed)
    return found


def try_mat(rng: Random, folder: Path, valid: dict[str, bytes]) -> None:
    name, data = rng.choice(list(valid.items()))
    file = folder / "x.mat"
    file.write_bytes(maybe_damaged(rng, data, 0.9))
    whole = file.read_bytes() == data
    if name.startswith("mask"):
        mask = read_mat(file)
        check(mask.dtype == np.uint8 and mask.ndim == 2 and mask.max() <= 20, mask.shape)
        check(not whole or (mask.shape == (7, 9) and int(mask.sum()) == 9 * 12), "another mask")
    else:
        synsets = read_devkit(file)
        check(all(isinstance(one.wnid, str) for one in synsets.values()), synsets)
        check(not whole or synsets[1].name == "tench", synsets)


def listing(_: Path) -> dict[str, Any]:
    return {str(number): [f"n{number:08d}", f"class_{number}"] for number in range(1000)}


def try_class_index(rng: Random, folder: Path, valid: dict[str, Any]) -> None:
    if rng.random() < 0.5:
        (folder / "imagenet_class_index.json").write_bytes(json_bytes(rng, valid))
    else:
        (folder / "imagenet_class_index.json").unlink(missing_ok=True)
        lines = "".join(f"{wnid} {name}, other\n" for wnid, name in valid.values()).encode()
        (folder / "LOC_synset_mapping.txt").write_bytes(maybe_damaged(rng, lines, 0.9))
    found = read_classes(folder, [])
    check(len(found) == 1000 and len({one.wnid for one in found}) == 1000, len(found))
    check(all(isinstance(one.name, str) for one in found), found)


SURFACES = (
    Surface("COCO boxes", coco, try_boxes),
    Surface("COCO outlines", with_voc_classes, try_outlines, native=True),
    Surface("results files", with_results, try_results),
    Surface("VOC XML", voc, try_voc),
    Surface("MAT files", mats, try_mat, native=True),
    Surface("ImageNet's classes", listing, try_class_index),
)
