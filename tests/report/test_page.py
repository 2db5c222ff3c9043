"""The page of a run. Oracles: the files that the run wrote, an HTML parser, and a browser where there is one."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.e2e.command import tiny_run, trident

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TASKS = ("detection", "classification", "segmentation")
WORDS = {"detection": (), "classification": ("data.val_scenes=6",), "segmentation": ()}
HOSTILE = "<script>alert('x')</script>&\"'"


class Page(HTMLParser):
    """What a page holds: elements, figures by head, split and name, and its text."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.metrics: dict[tuple[str, str], dict[str, float | None]] = {}
        self.words: list[str] = []
        self.place = ("", "")
        self.open: list[str] = []
        self.feed(content)
        assert self.open == []

    def handle_starttag(self, element: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.elements.append((element, found))
        if element not in ("meta", "img"):
            self.open.append(element)
        if "data-split" in found:
            self.place = found["data-head"] or "", found["data-split"] or ""
        if "data-metric" in found:
            number = None if element == "span" else float(found["value"] or "nan")
            self.metrics.setdefault(self.place, {})[found["data-metric"] or ""] = number

    def handle_endtag(self, element: str) -> None:
        assert self.open.pop() == element

    def handle_data(self, text: str) -> None:
        self.words.append(text)

    def named(self, element: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == element]

    @property
    def text(self) -> str:
        return " ".join(self.words)


def read(folder: Path) -> Page:
    return Page((folder / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module", params=TASKS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        assert tiny_run(patch, folder, f"task={request.param}", "logger.every_steps=1", *WORDS[request.param]) == 0
    return folder / "run"


def test_numbers_are_those_of_metrics_json(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())["val"]
    (figures,) = read(run).metrics.values()
    assert figures == {name: value for name, value in metrics.items() if name in figures}
    left_out = {name for name in metrics if name not in figures}
    # A class without a value has no bar; the number of those is said.
    assert all("/" in name and metrics[name] is None for name in left_out)


def test_says_what_was_run(run: Path) -> None:
    text = read(run).text
    assert "none, from a random start" in text
    assert re.search(r"mobilenet_v2(_dense)?, width 0\.1,", text)
    assert "shapes" in text
    assert "torch 2." in text
    assert "5 val" in text or "6 val" in text
    assert "GiB this process" in text
    assert "Loss" in text
    assert "Best, median, worst" in text


def test_is_one_file_without_scripts_or_addresses(run: Path) -> None:
    page = read(run)
    assert {name for name, _ in page.elements} & {"script", "link", "iframe", "object", "base"} == set()
    assert all((image["src"] or "").startswith("data:image/jpeg;base64,") for image in page.named("img"))
    assert all(image["loading"] == "lazy" and image["alt"] and image["width"] for image in page.named("img"))
    assert all((link["href"] or "").startswith("#") for link in page.named("a"))
    places = {attributes.get("id") for _, attributes in page.elements}
    assert {(link["href"] or "")[1:] for link in page.named("a")} <= places
    content = (run / "report.html").read_text(encoding="utf-8")
    assert "http://" not in content
    assert "https://" not in content
    assert [path.name for path in run.iterdir() if path.name.endswith(".part")] == []


def test_other_runs_stand_beside(run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A run beside itself has all of its own main figure; that of another kind of head is not compared."""
    other = tmp_path / "other"
    shutil.copytree(run, other)
    metrics = json.loads((run / "metrics.json").read_text())
    name = {"detection": "map", "classification": "top1", "segmentation": "miou"}[run.parent.name.rstrip("0123456789")]
    metrics["val"][name] = 0.5
    (other / "metrics.json").write_text(json.dumps(metrics))
    words = ("mode=evaluate", f"checkpoint={run / 'model.safetensors'}", "evaluation.drawn_images=0")
    assert trident(monkeypatch, *words, f"evaluation.beside=[{other}]", f"run_dir={tmp_path / 'again'}") == 0
    page = read(tmp_path / "again")
    here = json.loads((tmp_path / "again" / "metrics.json").read_text())["val"][name]
    assert page.metrics["", ""] == {name: here}
    assert f"{200 * here:.1f}%" in page.text
    assert "images seen" in page.text


@pytest.mark.parametrize(
    ("metrics", "said"),
    [(None, r"metrics\.json cannot be read \(No such file"), ("{}", r"its metrics\.json is not as a run writes it")],
)
def test_no_run_beside(tmp_path: Path, metrics: str | None, said: str) -> None:
    from backbone.errors import InputError
    from tasks.report.beside import read_runs

    if metrics is not None:
        (tmp_path / "metrics.json").write_text(metrics)
    with pytest.raises(InputError, match=rf"evaluation\.beside=.*{said}.*name a run's folder"):
        read_runs([str(tmp_path)])


def test_evaluation_has_a_page_too(run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    again = tmp_path / "again"
    words = ("mode=evaluate", f"checkpoint={run / 'model.safetensors'}", "evaluation.drawn_images=0")
    assert trident(monkeypatch, *words, f"run_dir={again}") == 0
    first, second = read(run), read(again)
    assert second.metrics == first.metrics
    assert "none, from a random start" in second.text
    assert "Best, median, worst" not in second.text
    assert not second.named("img")


def test_results_file_has_a_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    truth = {
        "images": [{"id": 1, "width": 100, "height": 100, "file_name": "a.jpg"}],
        "categories": [{"id": 7, "name": HOSTILE}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 7, "bbox": [10, 10, 50, 50], "area": 2500}],
    }
    found = [{"image_id": 1, "category_id": 7, "bbox": [10, 10, 50, 50], "score": 0.5}]
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "found.json").write_text(json.dumps(found))
    words = (f"predictions={tmp_path / 'found.json'}", "data=coco", f"data.annotations={tmp_path / 'truth.json'}")
    assert trident(monkeypatch, "mode=evaluate", *words, f"run_dir={tmp_path / 'scored'}") == 0
    page = read(tmp_path / "scored")
    assert page.metrics["found.json", "val"]["map"] == 1
    assert HOSTILE in page.text
    assert not page.named("script")


def test_a_head_of_somebody_else_shows_its_figures(tmp_path: Path) -> None:
    from tasks.config.run import Task
    from tasks.evaluators.base import Evaluator
    from tasks.report.facts import RunFacts
    from tasks.report.page import Report

    class Counting(Evaluator[list[int]]):
        main_metric = "n"

        def reset(self) -> None: ...

        def update(self, batch, answers) -> None: ...

        def state(self) -> None: ...

        def merge(self, state) -> None: ...

        def metrics(self) -> dict[str, float | None]:
            return {"n": 0.25, HOSTILE: None}

        def show(self, console, title) -> None: ...

        def write(self, folder, suffix) -> None: ...

    report = Report(tmp_path, RunFacts(task=Task.detection, kinds={}))
    evaluator = Counting(HOSTILE, [1, 2, 3], None, None)
    report.add("val", {HOSTILE: evaluator, "second": evaluator})
    report.add("test", {HOSTILE: evaluator})
    page = Page(report.html())
    assert page.metrics[HOSTILE, "val"] == page.metrics["second", "val"] == {"n": 0.25, HOSTILE: None}
    assert (HOSTILE, "test") in page.metrics
    assert "3 val, 3 test" in page.text
    assert not page.named("script")


def test_a_page_that_cannot_be_written(tmp_path: Path) -> None:
    from backbone.errors import InputError
    from tasks.config.run import Task
    from tasks.report.facts import RunFacts
    from tasks.report.page import Report

    (tmp_path / "file").write_text("")
    with pytest.raises(
        InputError, match=r"report\.html: cannot be written \(.*\); choose a folder that you may write to"
    ):
        Report(tmp_path / "file", RunFacts(task=Task.detection, kinds={})).write()


def test_two_hundred_drawn_images_are_below_15_mb() -> None:
    from tasks.drawing.contact_sheet import Pair, fitted
    from tasks.report.images import choose, gallery, pair_card

    rng = np.random.default_rng(0)
    # As much detail as a photograph: noise at several scales.
    image = sum(np.kron(rng.normal(0, 18, (480 // s, 640 // s, 3)), np.ones((s, s, 1))) for s in (1, 2, 4, 8, 16))
    small = fitted((128 + image).clip(0, 255).astype(np.uint8))
    pair = Pair(small, small, "a.jpg: 3 objects", "3 shown")
    quality = {position: position / 200 for position in range(400)}
    drawn = gallery(choose(quality, 200), lambda position: pair_card(pair, "F1"), measure="F1")
    assert drawn is not None
    assert drawn.count("<img") == 400
    assert len(drawn) < 15e6


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("there is no chromium")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (375, "light"), (375, "dark")])
def test_in_a_browser(run: Path, browser, width: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: None if request.url[:5] in ("file:", "data:") else said.append(request.url))
    page.goto((run / "report.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for image in page.locator("img").all():
        image.scroll_into_view_if_needed()
        page.wait_for_function("image => image.complete", arg=image.element_handle())
    assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).reduce((a, b) => +a + +b)")
    assert light > 600 if scheme == "light" else light < 150
    assert said == []
    context.close()


@pytest.mark.real_data
def test_coco_s_pictures(tmp_path: Path, browser) -> None:
    """206 photographs, detections near their objects, 200 pairs drawn: the figures, the size, and no complaint."""
    from types import SimpleNamespace

    import torch

    from heads.structures import Detections
    from tasks.config.evaluation import EvaluationConfig
    from tasks.config.run import Task
    from tasks.data.formats.coco.boxes import CocoDetection
    from tasks.evaluators.detection import DetectionEvaluator
    from tasks.report.facts import RunFacts
    from tasks.report.page import Report
    from tests.metrics.scenes import perturbed, real_data

    data = CocoDetection(real_data() / "coco", "val2017")
    evaluator = DetectionEvaluator("detection", data, data.labels, EvaluationConfig(drawn_images=200))
    found: dict[int, list[tuple[list[float], float, int]]] = {image["id"]: [] for image in evaluator.truth["images"]}
    for entry in perturbed(evaluator.truth, 0, ties=False):
        x, y, w, h = entry["bbox"]
        label = data.labels.to_index(entry["category_id"])
        found[entry["image_id"]].append(([x, y, x + w, y + h], entry["score"], label))
    for image_id, entries in found.items():
        entries.sort(key=lambda entry: -entry[1])
        boxes, scores, labels = zip(*entries, strict=True) if entries else ((), (), ())
        answer = Detections(torch.tensor(boxes).reshape(-1, 4), torch.tensor(scores), torch.tensor(labels).long())
        evaluator.update(SimpleNamespace(image_ids=torch.tensor([image_id])), [answer])
    report = Report(tmp_path, RunFacts(task=Task.detection, kinds={}))
    report.add("val", {"detection": evaluator})
    path = report.write()
    drawn = read(tmp_path)
    expected = {name: number for name, number in evaluator.metrics().items() if number is not None}
    assert drawn.metrics["detection", "val"] == expected
    assert len(drawn.named("img")) == 400
    assert path.stat().st_size < 15e6
    page = browser.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(path.as_uri())
    assert page.locator("figure.image").count() == 200
    assert said == []
