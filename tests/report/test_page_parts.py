"""The parts that a page is made of. Oracles: hand arithmetic, FACTS' figures by name, and the definition of HTML."""

from __future__ import annotations

import re

import pytest
import torch

from backbone.families.mobilenet_v2 import MobileNetV2Config
from heads.deeplabv3.config import Aspp, DeepLabV3Config
from heads.linear.config import LinearConfig
from heads.ssdlite.config import SSDLiteConfig
from tasks.config.run import Task
from tasks.data.config import CocoConfig, ImageNetConfig, ShapesConfig, VocConfig
from tasks.data.transforms.config import DeepLabTransformConfig, ImageNetTransformConfig, SSDTransformConfig
from tasks.metrics.miou import mean_iou
from tasks.papers.references import references
from tasks.report.charts import MAX_POINTS, Scale, Series, calibration_chart, line_chart
from tasks.report.curves import curves, read_log
from tasks.report.facts import RANDOM, collect
from tasks.report.html import Html, join, tag
from tasks.report.images import choose
from tasks.report.metrics import Row, class_bars, confusion, value


def test_text_and_attributes_are_escaped_and_markup_is_kept():
    assert tag("p", "<b>&\"'") == "<p>&lt;b&gt;&amp;&quot;&#x27;</p>"
    assert tag("p", tag("b", 3), None, ["a", Html("<i>")]) == "<p><b>3</b>a<i></p>"
    assert (
        tag("img", alt='">', data_x_y=1.5, loading=None, hidden=True) == '<img alt="&quot;&gt;" data-x-y="1.5" hidden>'
    )
    assert tag("line", x1=1 / 3, x2=2.0, class_="a") == '<line x1="0.33" x2="2" class="a"></line>'
    assert isinstance(join([]), Html)


def test_a_figure_carries_all_its_digits():
    assert value(1 / 3, "map") == '<data value="0.3333333333333333" data-metric="map">0.333</data>'
    assert ">–<" in value(None, "map")


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 1, [0, 0.25, 0.5, 0.75, 1]), (0, 400, [0, 100, 200, 300, 400]), (-1, 1, [-1, -0.5, 0, 0.5, 1])],
)
def test_ticks_are_round(low, high, ticks):
    assert Scale(low, high, 0, 100).ticks() == pytest.approx(ticks)


def test_a_logarithmic_scale():
    scale = Scale(1, 100, 0, 100, log=True)
    assert (scale(1), scale(10), scale(100)) == pytest.approx((0, 50, 100))
    assert scale.ticks() == [1, 2, 5, 10, 20, 50, 100] or scale.ticks() == [1, 10, 100]


def points(drawing: str) -> list[tuple[float, float]]:
    path = re.search(r'<path d="M([^"]*)"', drawing)
    assert path is not None
    return [tuple(map(float, point.split())) for point in path[1].split("L")]


def test_lines_are_where_their_numbers_are():
    drawn = points(line_chart([Series("a", [0, 1], [0.5, 1])], title="t", x_label="x", unit=True))
    assert drawn == [(44, 118), (408, 12)]


def test_long_and_broken_series():
    long = Series("a", range(10_000), [1.0] * 9_999 + [float("nan")])
    assert len(points(line_chart([long], title="t", x_label="x"))) == MAX_POINTS
    for ys in ([], [float("nan")], [float("inf")]):
        assert "<path" not in line_chart([Series("a", range(len(ys)), ys)], title="t", x_label="x")
    assert len(points(line_chart([Series("a", [0, 1], [-1.0, -1.0])], title="t", x_label="x"))) == 2


def test_calibration_has_a_bar_for_every_bin_that_holds_answers():
    drawn = calibration_chart([0.2, 0.0, 0.9], [0.5, 0.0, 0.8], [10, 0, 5])
    assert "10 answers: 20.0% sure, 50.0% right" in drawn
    assert drawn.count('class="bar"') == 2


@pytest.mark.parametrize(
    ("images", "count", "best", "median", "worst"),
    [
        (9, 3, [8], [4], [0]),
        (9, 9, [8, 7, 6], [5, 4, 3], [2, 1, 0]),
        (4, 9, [3], [2, 1], [0]),
        (2, 9, [], [1, 0], []),
        (0, 9, [], [], []),
        (9, 0, [], [], []),
    ],
)
def test_chosen_images(images, count, best, median, worst):
    chosen = choose({position: position / 10 for position in range(images)}, count)
    assert (chosen.best, chosen.median, chosen.worst) == (best, median, worst)


def test_classes_by_value_and_those_that_do_not_occur_are_said():
    drawn = class_bars([Row("a", 0.1, 3), Row("<b>", 0.9, 5), Row("c", None, 0)], title="AP", counted="objects")
    assert re.findall(r'scope="row">([^<]*)<', drawn) == ["&lt;b&gt;", "a"]
    assert "2 classes; 1 do not occur" in drawn


def test_confusion_lists_the_most_frequent_first():
    drawn = confusion(["a", "b", "c"], [[8, 2, 0], [5, 5, 0], [0, 0, 0]], counted="images")
    assert re.findall(r"<li><b>(\w)</b> taken for <b>(\w)</b><span>([^<]*)", drawn) == [
        ("b", "a", "5 images, 50.0%"),
        ("a", "b", "2 images, 20.0%"),
    ]
    assert "c taken for" not in drawn
    large = confusion([str(n) for n in range(60)], [[1] * 60] * 60, counted="images", file="It is in confusion.csv.")
    assert "60 classes are too many to draw as a matrix. It is in confusion.csv." in large
    assert "nothing was confused" in confusion(["a"], [[3]], counted="images")


def test_one_image_is_no_images():
    drawn = confusion(["a", "b"], [[0, 1], [1, 1233]], counted="images")
    assert "<span>1 image, 100.0%</span>" in drawn
    assert 'title="a taken for b: 1 image, 100.0%"' in drawn
    assert 'title="b taken for b: 1,233 images, 99.9%"' in drawn
    assert 'title="a taken for a: 0 images, 0.0%"' in drawn


def test_a_log_without_some_cells(tmp_path):
    path = tmp_path / "metrics.csv"
    assert curves(path) is None
    path.write_text("epoch,step,train/loss,val/map,val/mar_10\n0,9,3.5,,\n0,9,,0.5,0.1\n0,19,nan,0.25,0.1\n")
    assert read_log(path)["train/loss"] == ([9], [3.5])
    assert read_log(path)["val/map"] == ([9, 19], [0.5, 0.25])
    drawn = curves(path)
    assert drawn is not None
    assert "Loss" in drawn
    assert "map 0.25 at 19" in drawn
    assert "mar" not in drawn
    path.write_text("epoch,step\n")
    assert curves(path) is None


def test_nothing_known_of_public_weights(tmp_path):
    facts = collect(tmp_path, None)
    assert facts.header is None
    assert facts.here["versions"]["torch"]
    assert RANDOM


def beside(task, head, data, transform, images, width=1.0, stride=32, multi_scale=False):
    backbone = MobileNetV2Config(width=width, output_stride=stride)
    found = references(
        task, backbone=backbone, head=head, data=data, transform=transform, multi_scale=multi_scale, images=images
    )
    return [(one.metric, one.value, one.caveat) for one in found]


def test_published_figures_stand_beside_the_published_models_alone():
    ssd, coco = SSDTransformConfig(image_size=320), CocoConfig(root="coco")
    detection = (Task.detection, SSDLiteConfig())
    assert beside(*detection, coco, ssd, 5000) == [("map", pytest.approx(0.221), ", on test-dev")]
    part = ", on test-dev, on the whole set of 5,000 images"
    assert beside(*detection, coco, ssd, 206) == [("map", pytest.approx(0.221), part)]
    assert beside(*detection, coco, ssd, 5000, width=0.5) == []
    assert beside(*detection, coco, SSDTransformConfig(image_size=300), 5000) == []
    assert beside(*detection, ShapesConfig(), ssd, 5000) == []
    assert beside(*detection, VocConfig(root="voc"), ssd, 5000) == []
    assert beside(None, SSDLiteConfig(), coco, ssd, 5000) == []

    imagenet = (Task.classification, LinearConfig(), ImageNetConfig(root="imagenet"))
    full, small = ImageNetTransformConfig(image_size=224), ImageNetTransformConfig(image_size=96)
    assert [number for _, number, _ in beside(*imagenet, full, 50_000)] == pytest.approx([0.720, 0.718])
    assert [number for _, number, _ in beside(*imagenet, full, 50_000, width=1.4)] == pytest.approx([0.747, 0.750])
    assert [number for _, number, _ in beside(*imagenet, small, 50_000, width=0.35)] == pytest.approx([0.455])
    assert beside(*imagenet, full, 50_000, stride=16) == []

    voc, deeplab = VocConfig(root="voc"), DeepLabTransformConfig()
    for head, stride, scales, expected in (
        (DeepLabV3Config(), 16, False, 0.7532),
        (DeepLabV3Config(aspp=Aspp.full), 16, False, 0.7570),
        (DeepLabV3Config(), 8, True, 0.7733),
    ):
        ((figure, number, caveat),) = beside(
            Task.segmentation, head, voc, deeplab, 1449, stride=stride, multi_scale=scales
        )
        assert (figure, number, caveat) == ("miou", pytest.approx(expected), ", pretrained on COCO")
    assert beside(Task.segmentation, DeepLabV3Config(), voc, deeplab, 1449, stride=8) == []
    assert beside(Task.segmentation, LinearConfig(), voc, deeplab, 1449, stride=16) == []


def test_mean_iou_of_one_image_is_over_its_own_classes():
    counts = torch.tensor([[6, 2, 0], [0, 2, 0], [0, 0, 0]])
    assert mean_iou(counts) == pytest.approx((6 / 8 + 2 / 4) / 2)
    assert mean_iou(torch.zeros(2, 2, dtype=torch.int64)) is None
