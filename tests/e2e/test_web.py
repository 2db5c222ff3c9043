"""The page of export=web, and of mode=demo, in Chromium, with a camera that is none: every head's answer beside
mode=predict's.
"""

from __future__ import annotations

import base64
import csv
import functools
import http.server
import importlib.util
import json
import shutil
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from tests.e2e.command import tiny_run, trident
from tests.e2e.test_demo import demo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MISSING = [name for name in ("playwright", "onnx", "onnxscript", "onnxruntime") if not importlib.util.find_spec(name)]
MISSING += [] if CHROMIUM else ["chromium"]
MISSING += [] if shutil.which("npm") else ["npm"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)} not installed"),
]
SCORE = 0.01
"""Largest difference of a score: images are resized within one grey level."""
MASK = 0.99
"""Least share of equal pixels."""
BOX_PX = 2.0
"""Largest difference of a corner, of 640 x 480 pixels."""
READ = """() => {
    const { image, result } = globalThis.trident;
    const canvas = new OffscreenCanvas(result.width, result.height);
    canvas.getContext("2d").drawImage(image, 0, 0);
    const answers = structuredClone(result.answers);
    for (const answer of Object.values(answers)) if (answer.mask) answer.mask = Array.from(answer.mask);
    return canvas.convertToBlob().then((blob) => blob.arrayBuffer()).then((png) => ({
        png: btoa(Array.from(new Uint8Array(png), (byte) => String.fromCharCode(byte)).join("")),
        answers,
    }));
}"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, without a line for each."""

    def log_message(self, *words: Any) -> None:
        pass


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where the page of a joint model is served."""
    assert tiny_run(monkeypatch, tmp_path, "task=multitask", "trainer.max_steps=20") == 0
    words = ("mode=export", "export=web", "export.compare=false", f"run_dir={tmp_path / 'exported'}")
    assert trident(monkeypatch, *words, f"checkpoint={tmp_path / 'run' / 'model.safetensors'}") == 0
    served = functools.partial(Quiet, directory=str(tmp_path / "exported" / "web"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), served) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture
def page() -> Iterator[Any]:
    """A page of a browser with a camera."""
    from playwright.sync_api import sync_playwright

    camera = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *camera])
        yield browser.new_context(viewport={"width": 375, "height": 760}).new_page()
        browser.close()


def wait_until_ready(page: Any) -> None:
    page.wait_for_selector("#file:enabled, #status.bad", state="attached")
    assert page.inner_text("#status").startswith("Ready")


def test_the_page_answers_as_predict_does(
    address: str, page: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    wait_until_ready(page)
    page.click("#camera")
    page.wait_for_selector("#answers section:nth-child(3)")
    page.click("#camera")
    page.wait_for_selector("#status:has-text('stopped')")
    seen = page.evaluate(READ)
    frame = tmp_path / "frame.png"
    frame.write_bytes(base64.b64decode(seen["png"]))
    out = tmp_path / "predicted"
    words = (f"checkpoint={tmp_path / 'run' / 'model.safetensors'}", f"source={frame}", f"run_dir={out}")
    whole = "predict.tiles=null"  # the page looks at an image as a whole
    assert trident(monkeypatch, "mode=predict", whole, *words) == 0
    compare(seen["answers"], out)

    page.context.set_offline(True)
    page.reload()
    wait_until_ready(page)
    assert page.evaluate("crossOriginIsolated")  # the service worker answered, and WebAssembly may use threads
    page.set_input_files("#file", str(frame))
    page.wait_for_selector("#status:has-text('frame.png')")
    compare(page.evaluate(READ)["answers"], out)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    text = tmp_path / "text.png"
    text.write_text("no image")
    page.set_input_files("#file", str(text))
    page.wait_for_selector("#status.bad:has-text('is no image')")
    assert not errors


def test_the_page_of_a_demo_answers_as_predict_does(page: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tiny_run(monkeypatch, tmp_path, "task=multitask", "trainer.max_steps=20") == 0
    checkpoint = f"checkpoint={tmp_path / 'run' / 'model.safetensors'}"
    image = next((tmp_path / "scenes").rglob("*.jpg"))
    out = tmp_path / "predicted"
    assert trident(monkeypatch, "mode=predict", checkpoint, f"source={image}", f"run_dir={out}") == 0
    text = tmp_path / "text.png"
    text.write_text("no image")
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    with demo(checkpoint) as address:
        page.goto(address)
        wait_until_ready(page)
        page.click("#camera")
        page.wait_for_selector("#answers section:nth-child(3)")
        page.click("#camera")
        page.wait_for_selector("#status:has-text('stopped')")
        page.set_input_files("#file", str(image))
        page.wait_for_selector(f"#status:has-text('{image.name}')")
        compare(page.evaluate(READ)["answers"], out)
        page.set_input_files("#file", str(text))
        page.wait_for_selector("#status.bad:has-text('is no image')")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.set_input_files("#file", str(image))
    page.wait_for_selector("#status.bad:has-text('does not answer')")
    assert not errors


def compare(answers: dict[str, Any], predicted: Path) -> None:
    """See that a page's answers are those that mode=predict wrote about the same image."""
    assert {answer["kind"] for answer in answers.values()} == {"classification", "detection", "segmentation"}
    for answer in answers.values():
        if answer["kind"] == "classification":
            with (predicted / "classes.csv").open(newline="") as file:
                row = next(csv.DictReader(file))
            assert answer["classes"][0]["score"] == pytest.approx(float(row["probability"]), abs=SCORE)
        elif answer["kind"] == "detection":
            compare_boxes(answer["detections"], json.loads((predicted / "detections.json").read_text()))
        else:
            mask = np.array(Image.open(next((predicted / "masks").glob("*.png"))))
            assert (np.array(answer["mask"], np.uint8).reshape(mask.shape) == mask).mean() >= MASK


def compare_boxes(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> None:
    """Every box of Python's but for the least sure has one of the page's."""
    assert wanted
    least = max(0.02, min(one["score"] for one in wanted) + SCORE)
    for one in wanted:
        if one["score"] < least:
            continue
        x, y, width, height = one["bbox"]
        corners = np.array([x, y, x + width, y + height])
        near = [
            np.abs(np.array(other["box"]) - corners).max() < BOX_PX and abs(other["score"] - one["score"]) < SCORE
            for other in found
        ]
        assert any(near), one
