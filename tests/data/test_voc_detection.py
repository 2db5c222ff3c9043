"""The VOC reader, against hand-written files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from backbone.errors import InputError
from tasks.data.build import build_splits
from tasks.data.config import BadBoxes, VocConfig
from tasks.data.formats.voc.boxes import VocDetection
from tests.data.builders import voc_object, voc_xml, write_voc

if TYPE_CHECKING:
    from pathlib import Path


def test_coordinates_count_from_one_and_include_both_ends(tmp_path: Path) -> None:
    objects = voc_object("dog", 1, 1, 60, 40) + voc_object("cat", 11, 6, 12, 6.5, difficult=1)
    data = VocDetection(write_voc(tmp_path, {"train": {"a": voc_xml(objects)}}), "train")
    sample = data[0]
    assert sample.boxes_xyxy_px.tolist() == [[0, 0, 60, 40], [10, 5, 12, 6.5]]
    assert sample.labels.tolist() == [1, 0]
    assert sample.crowd.tolist() == [False, True]
    assert (sample.image_id, sample.size) == (1, (40, 60))
    assert (data.labels.names, data.labels.ids) == (("cat", "dog"), (1, 2))
    rows = data.ground_truth()["annotations"]
    assert [(row["bbox"], row["area"], row["iscrowd"]) for row in rows] == [
        ([0, 0, 60, 40], 2400, 0),
        ([10, 5, 2, 1.5], 3, 1),
    ]


def test_image_without_objects_and_without_size(tmp_path: Path) -> None:
    files = {"a": "<annotation/>", "b": voc_xml("", width=0, height=0), "c": voc_xml(voc_object("dog", 2, 2, 9, 9))}
    data = VocDetection(write_voc(tmp_path, {"train": files}), "train")
    assert [data[index].size for index in range(3)] == [(40, 60)] * 3
    assert [len(data[index].labels) for index in range(3)] == [0, 0, 1]


def test_images_of_any_suffix(tmp_path: Path) -> None:
    root = write_voc(tmp_path, {"train": {"a.b": voc_xml(voc_object("dog", 2, 2, 9, 9))}})
    (root / "JPEGImages" / "a.b.jpg").rename(root / "JPEGImages" / "a.b.jpeg")
    assert VocDetection(root, "train").path(0).name == "a.b.jpeg"


def test_config_collects_classes_of_all_splits(tmp_path: Path) -> None:
    splits = {
        split: {f"{split}1": voc_xml(voc_object(name, 2, 2, 9, 9))}
        for split, name in (("train", "dog"), ("val", "cat"), ("test", "ant"))
    }
    root = write_voc(tmp_path, splits)
    built = build_splits(VocConfig(root=str(root)), "detection")
    assert built.labels.names == ("ant", "cat", "dog")
    assert built.test is not None
    assert (built.train[0].labels.item(), built.val[0].labels.item(), built.test[0].labels.item()) == (2, 1, 0)
    assert build_splits(VocConfig(root=str(root), test_split=None), "detection").test is None
    assert build_splits(VocConfig(root=str(root), test_split="none"), "detection").labels.names == ("cat", "dog")
    named = build_splits(VocConfig(root=str(root), classes=["dog", "cat", "ant"]), "detection")
    assert named.train[0].labels.item() == 0


def test_class_outside_the_list(tmp_path: Path) -> None:
    root = write_voc(tmp_path, {"train": {"a": voc_xml(voc_object("dgo", 2, 2, 9, 9))}})
    with pytest.raises(InputError, match=r"a\.xml: class 'dgo' is not in the list; allowed are dog, cat: add it to"):
        VocDetection(root, "train", ["dog", "cat"])
    with pytest.raises(InputError, match="class name 'dog' occurs 2 times"):
        VocDetection(root, "train", ["dog", "dog"])


def test_nothing_annotated_and_no_classes(tmp_path: Path) -> None:
    root = write_voc(tmp_path, {"train": {"a": voc_xml("")}})
    with pytest.raises(InputError, match=r"train\.txt: no object is annotated, .*; name them by data\.classes="):
        VocDetection(root, "train")
    assert len(VocDetection(root, "train", ["dog"])[0].labels) == 0


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("ImageSets/Main/train.txt", r"train\.txt: there is no such file; the list of the split's images"),
        ("Annotations/a.xml", r"a\.xml: there is no such file; the annotation of an image of .*train\.txt"),
        ("JPEGImages/a.jpg", r"a\.jpg: this image is listed in .*train\.txt but absent"),
    ],
)
def test_missing_files(tmp_path: Path, missing: str, message: str) -> None:
    root = write_voc(tmp_path, {"train": {"a": voc_xml("")}})
    (root / missing).unlink()
    with pytest.raises(InputError, match=message):
        VocDetection(root, "train", ["dog"])


@pytest.mark.parametrize("missing", ["", "JPEGImages", "Annotations"])
def test_missing_folders(tmp_path: Path, missing: str) -> None:
    root = write_voc(tmp_path / "voc", {"train": {"a": voc_xml("")}})
    (root / missing).rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=rf"{missing or 'voc'}: there is no such folder.*: data\.root=FOLDER"):
        VocDetection(root, "train", ["dog"])


def test_empty_and_repeating_lists(tmp_path: Path) -> None:
    root = write_voc(tmp_path, {"train": {"a": voc_xml("")}})
    listing = root / "ImageSets" / "Main" / "train.txt"
    listing.write_text("\n")
    with pytest.raises(InputError, match=r"train\.txt: lists no image"):
        VocDetection(root, "train", ["dog"])
    listing.write_text("a\na\n")
    with pytest.raises(InputError, match=r"train\.txt: image a occurs more than once"):
        VocDetection(root, "train", ["dog"])
    listing.write_bytes(b"\xe9\n")
    with pytest.raises(InputError, match=r"train\.txt: is no text in UTF-8 \(.*\)"):
        VocDetection(root, "train", ["dog"])
    listing.write_bytes(b"\xef\xbb\xbfa\r\n")
    assert len(VocDetection(root, "train", ["dog"])) == 1, "as Windows' editor writes it"


BOMB = '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]><annotation>&c;</annotation>'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (voc_xml(voc_object("dog", 1, 1, 5, 5))[:-20], "broken XML"),
        (BOMB, "broken XML"),
        (voc_xml("<object><name>dog</name></object>"), "<object> has no <bndbox/xmin>; add it"),
        (voc_xml(voc_object("", 1, 1, 5, 5)), "<object> has no <name>"),
        (voc_xml(voc_object("dog", "one", 1, 5, 5)), "<bndbox/xmin> is 'one'; it must be a number"),
        (voc_xml(voc_object("dog", "1_0", 1, 5, 5)), "<bndbox/xmin> is '1_0'; it must be a number"),
        ("<annotation><size><width>3</width></size></annotation>", "<annotation> has no <size/height>"),
        (voc_xml("", width="nan"), "<size/width> is nan; it must be a whole number of pixels"),
        (voc_xml("", height="1e400"), "<size/height> is inf; it must be a whole number of pixels"),
        (voc_xml("", height=40.9), "<size/height> is 40.9; it must be a whole number of pixels"),
        (voc_xml("", height=-40), "<size/height> is -40; it must be a whole number of pixels"),
        (voc_xml("", width=10**12), r"<size/width> is 1e\+12; it must be a whole number of pixels"),
        ('<?xml version="1.0" encoding="foo"?><a/>', "declares the encoding 'foo', which is none"),
        ('<?xml version="1.0" encoding="hex"?><a/>', "declares the encoding 'hex', which is none"),
        ('<?xml version="1.0" encoding="punycode"?><a/>', "declares the encoding 'punycode', which is none"),
        ('<?xml version="1.0" encoding="utf-16"?><a/>', "(is no text in UTF-16, declared there|broken XML)"),
        ('<?xml version="1.0" encoding="ascii"?><a>ä</a>', "is no text in ASCII, declared there"),
        (voc_xml(voc_object("dog", 1, 1, 5, 5, difficult="perhaps")), "<difficult> is 'perhaps'; it must be 0 or 1"),
        (voc_xml(voc_object("dog", "0x10", 1, 5, 5)), "<bndbox/xmin> is '0x10'; it must be a number"),
        (voc_xml(voc_object("dog", "١٢", 1, 5, 5)), "<bndbox/xmin> is '١٢'; it must be a number"),
        ("<a>" * 100_000, "broken XML"),
    ],
)
def test_broken_annotations(tmp_path: Path, text: str, message: str) -> None:
    root = write_voc(tmp_path, {"train": {"a": text}})
    with pytest.raises(InputError, match=rf"a\.xml: {message}"):
        VocDetection(root, "train", ["dog"])


@pytest.mark.parametrize("encoding", ["shift_jis", "gb2312", "iso-8859-5", "utf-16", "UTF-8"])
def test_declared_encodings_are_read(tmp_path: Path, encoding: str) -> None:
    name = {"shift_jis": "蝶", "gb2312": "狗", "iso-8859-5": "собака"}.get(encoding, "Käfer 蝶")
    root = write_voc(tmp_path, {"train": {"a": ""}})
    text = f'<?xml version="1.0" encoding="{encoding}"?>' + voc_xml(voc_object(name, 1, 2, 30, 40))
    (root / "Annotations" / "a.xml").write_bytes(text.encode(encoding))
    assert VocDetection(root, "train").labels.names == (name,)


def test_undeclared_encodings_are_named(tmp_path: Path) -> None:
    root = write_voc(tmp_path, {"train": {"a": ""}})
    (root / "Annotations" / "a.xml").write_bytes(voc_xml(voc_object("狗", 1, 2, 30, 40)).encode("gbk"))
    with pytest.raises(InputError, match=r"a\.xml: is no text in UTF-8, expected where none is declared \("):
        VocDetection(root, "train")


@pytest.mark.parametrize(
    ("text", "difficult"),
    [("0", False), ("1", True), ("true", True), ("False", False), ("TRUE", True), (" 1\n", True), ("", False)],
)
def test_difficult_in_words(tmp_path: Path, text: str, difficult: bool) -> None:
    root = write_voc(tmp_path, {"train": {"a": voc_xml(voc_object("dog", 1, 1, 5, 5, difficult=text))}})
    assert VocDetection(root, "train")[0].crowd.tolist() == [difficult]


@pytest.mark.parametrize(
    ("corners", "reason"),
    [
        ((5, 5, 5, 9), "has no area"),
        ((9, 5, 5, 9), "has no area"),
        (("nan", 5, 9, 9), "is not a number or infinite"),
        ((70, 5, 80, 9), "lies outside the image"),
    ],
)
def test_bad_boxes(
    tmp_path: Path, corners: tuple[int, int, int, int], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    xml = voc_xml(voc_object("dog", 2, 2, 9, 9) + voc_object("dog", *corners))
    root = write_voc(tmp_path, {"train": {"a": xml}})
    message = rf"1 of 2 boxes cannot be used; the first, object 2 \(dog\) of .*a\.xml with corners .*, {reason}"
    with pytest.raises(InputError, match=message):
        VocDetection(root, "train")
    assert len(VocDetection(root, "train", bad_boxes=BadBoxes.drop)[0].labels) == 1
    assert [reason in record.getMessage() for record in caplog.records] == [True]
