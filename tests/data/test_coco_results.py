from __future__ import annotations

import json

import pytest

from backbone.errors import InputError
from tasks.data.formats.coco.results import load_annotations, load_results
from tests.metrics.scenes import real_data, thing, truth

GOOD = thing(10, 3, [1, 2, 3, 4], score=0.5)


def written(tmp_path, data) -> str:
    path = tmp_path / "file.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return str(path)


def test_good_files_come_back_as_they_are(tmp_path):
    ground_truth = truth([thing(10, 3, [1, 2, 3, 4], iscrowd=1, area=5.5)])
    assert load_annotations(written(tmp_path, ground_truth)) == ground_truth
    assert load_results(written(tmp_path, [GOOD]), ground_truth) == [GOOD]


def test_an_empty_list_is_a_result_and_reported(tmp_path, caplog):
    assert load_results(written(tmp_path, []), truth([])) == []
    assert "the list is empty, nothing was detected" in caplog.text


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("x", r"entry 1 is a text; must be an object with image_id, category_id, bbox, score"),
        ({**GOOD, "image_id": 99}, r"entry 1 has image_id 99; must be one of the annotations' 2 images"),
        ({**GOOD, "image_id": "10"}, r"entry 1 has image_id '10'; must be a whole number, without quotes or a point"),
        ({**GOOD, "category_id": 3.0}, r"entry 1 has category_id 3\.0; must be a whole number, without quotes"),
        ({**GOOD, "category_id": "c6"}, r"as the annotations have it: c6 is called by the id 6 there"),
        ({**GOOD, "image_id": [10]}, r"entry 1 has image_id \[10\]"),
        ({"category_id": 3}, r"entry 1 has no 'image_id'"),
        ({"image_id": 10}, r"entry 1 has no 'category_id'"),
        (
            {**GOOD, "category_id": 0},
            r"category_id 0; must be one of .* category ids 3 \.\. 6, not the index of a class",
        ),
        ({**GOOD, "category_id": True}, r"entry 1 has category_id True"),
        ({"image_id": 10, "category_id": 3, "segmentation": {}}, r"entry 1 has no 'bbox'; .*masks are not scored"),
        ({**GOOD, "bbox": [1, 2, 3]}, r"entry 1 has bbox \[1, 2, 3\]; must be four finite numbers"),
        ({**GOOD, "bbox": [1, 2, float("nan"), 4]}, r"entry 1 has bbox \[1, 2, nan, 4\]; must be four finite"),
        ({**GOOD, "bbox": [1, 2, -3, 4]}, r"with no negative size"),
        ({**GOOD, "bbox": [1, 2, 10**400, 4]}, r"must be four finite numbers"),
        ({**GOOD, "score": float("inf")}, r"entry 1 has score inf; must be a finite number"),
        ({**GOOD, "score": None}, r"entry 1 has score None"),
        ({k: v for k, v in GOOD.items() if k != "score"}, r"entry 1 has score None; must be a finite number"),
    ],
)
def test_a_bad_entry_is_named(tmp_path, entry, message):
    path = written(tmp_path, [GOOD, entry])
    with pytest.raises(InputError, match=message) as caught:
        load_results(path, truth([]))
    assert str(caught.value).startswith(f"{path}: entry 1 ")


CORNERS = [[60.0, 40.0, 90.0, 70.0], [50.0, 10.0, 99.0, 30.0], [1.0, 2.0, 30.0, 40.0]]


def test_what_makes_scores_worthless_is_said(tmp_path, caplog):
    """As corners all three lie in an image of 100 x 80; as sizes two of them reach outside it."""
    ground_truth = truth([])
    for image in ground_truth["images"]:
        image |= {"width": 100, "height": 80}
    sizes = [[x, y, right - x, lower - y] for x, y, right, lower in CORNERS]
    for boxes, said in (
        (sizes, None),
        (CORNERS, "2 of 3 boxes reach outside their image as x, y, width, height, and fit as x1, y1, x2, y2"),
        ([[number / 100 for number in box] for box in CORNERS], "all boxes lie between 0 and 1, so they look like"),
        ([*sizes, sizes[0]], "1 of 4 entries repeat another one in everything; each copy counts as a false detection"),
    ):
        caplog.clear()
        load_results(written(tmp_path, [{**GOOD, "bbox": box} for box in boxes]), ground_truth)
        assert [said in record.getMessage() for record in caplog.records] == [True] * (said is not None)
    caplog.clear()
    for image in ground_truth["images"]:
        del image["width"]  # then nothing can be said of it
    load_results(written(tmp_path, [{**GOOD, "bbox": box} for box in CORNERS]), ground_truth)
    assert not caplog.records


def test_bad_results_files(tmp_path):
    with pytest.raises(InputError, match=r"^predictions=.*none\.json: there is no such file"):
        load_results(tmp_path / "none.json", truth([]))
    with pytest.raises(InputError, match=r"cannot be read \(Is a directory\)"):
        load_results(tmp_path, truth([]))
    with pytest.raises(InputError, match=r"no complete JSON, line 1 column 2: Expecting"):
        load_results(written(tmp_path, "["), truth([]))
    (tmp_path / "image.json").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(InputError, match="is no JSON text"):
        load_results(tmp_path / "image.json", truth([]))
    with pytest.raises(InputError, match="holds an object; COCO results are a list"):
        load_results(written(tmp_path, {}), truth([]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("annotations"), "has no list 'annotations'; COCO annotations need images, annotations, cat"),
        (lambda d: d.update(images=[]), "the list 'images' is empty"),
        (lambda d: d.update(categories=[]), "the list 'categories' is empty"),
        (lambda d: d.update(images=[3]), r"images\[0\] is a number; must be an object"),
        (lambda d: d["images"].append({"id": 10}), r"images\[2\] has id 10, which occurs before"),
        (lambda d: d["images"].append({"id": "a"}), r"images\[2\] has id 'a'; must be a whole number"),
        (lambda d: d["categories"].append({"id": 9}), r"categories\[2\] has no 'name'; add it"),
        (lambda d: d["categories"].append({"id": 9, "name": "c3"}), r"name 'c3', which occurs before; .*rename"),
        (
            lambda d: d["annotations"][0].update(image_id=5),
            r"annotations\[0\] has image_id 5; must be an id of the list",
        ),
        (lambda d: d["annotations"][0].pop("category_id"), r"annotations\[0\] has no 'category_id'"),
        (lambda d: d["annotations"][0].pop("bbox"), r"annotations\[0\] has no 'bbox'"),
        (lambda d: d["annotations"][0].update(area=-1), r"annotations\[0\] has area -1; must be a finite number"),
        (lambda d: d["annotations"][0].update(iscrowd=2), r"annotations\[0\] has iscrowd 2; must be 0 or 1"),
    ],
)
def test_bad_annotations(tmp_path, change, message):
    data = truth([thing(10, 3, [1, 2, 3, 4])])
    change(data)
    path = written(tmp_path, data)
    with pytest.raises(InputError, match=message) as caught:
        load_annotations(path)
    assert str(caught.value).startswith(path)


def test_a_results_file_given_as_annotations(tmp_path):
    with pytest.raises(InputError, match=r"holds a list; .*a list is a results file: give it as predictions="):
        load_annotations(written(tmp_path, []))
    with pytest.raises(InputError, match=r"^data\.annotations=.*: there is no such file"):
        load_annotations(tmp_path / "none.json")


@pytest.mark.real_data
@pytest.mark.parametrize("split", ["train", "val"])
def test_real_annotations_load(split):
    assert (
        len(load_annotations(real_data() / "coco" / "annotations" / f"instances_{split}2017.json")["categories"]) == 80
    )
