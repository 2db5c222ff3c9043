"""The folder of a page: its own files, the model, what the page must know of it, and the runtime."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbone.disk import write_whole
from tasks.deploy.web.runtime import copy_runtime
from tasks.drawing.boxes import class_colour
from tasks.drawing.masks import BACKGROUND, voc_colour

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tasks.deploy.header import ArtifactHeader

SOURCES = Path(__file__).parent / "page"
MODEL_FILE = "model.onnx"
ANSWERED_THERE = "worker.js"
"""Runs the model in the browser."""
ANSWERED_HERE = "served.js"
"""Asks the server of mode=demo."""
ONLY_THERE = {ANSWERED_THERE, "sw.js"}
"""Files that nothing asks for where the server answers."""


def write_page(folder: Path, model: Path, header: ArtifactHeader, view: Mapping[str, Any], runtime: str | None) -> None:
    """Write all of a page into `folder`, which is made anew.

    Args:
        model: the exported ONNX file.
        view: of `view_of`.
        runtime: a folder with ONNX Runtime Web; None: npm is asked.
    Raises:
        InputError: the runtime cannot be had.
    """
    if folder.exists():
        shutil.rmtree(folder)
    copy_runtime(runtime, folder / "runtime")
    for source in sources():
        shutil.copyfile(source, folder / source.name)
    shutil.copyfile(model, folder / MODEL_FILE)
    names = {head: list(labels["names"]) for head, labels in header.labels.items()}
    told = described({head: one["kind"] for head, one in header.heads.items()}, names, header.size)
    told |= {
        "worker": ANSWERED_THERE,
        "file": MODEL_FILE,
        "precision": header.precision,
        "licence": str(header.provenance.get("licence", "not stated")),
        "padding": header.padding,
        "heads": header.heads,
        "view": dict(view),
        "offline": True,
        "webgpu": header.precision == "fp32",
        "where": "Runs in this browser: images stay on this device.",
    }
    told["version"] = digest([*sources(), model], json.dumps(told))
    write_whole(folder / "model.json", json.dumps(told).encode())
    manifest = {"name": told["title"], "short_name": "Trident", "display": "standalone", "start_url": "./"}
    manifest |= {"icons": [{"src": "icon.svg", "sizes": "any", "type": "image/svg+xml"}]}
    write_whole(folder / "manifest.webmanifest", json.dumps(manifest).encode())


def sources(worker: str = ANSWERED_THERE) -> list[Path]:
    """The page's own files.

    Args:
        worker: what gives the page its answers, `ANSWERED_THERE` or `ANSWERED_HERE`.
    """
    found = sorted(path for path in SOURCES.iterdir() if path.suffix in (".html", ".css", ".js", ".svg"))
    other = {ANSWERED_THERE: {ANSWERED_HERE}, ANSWERED_HERE: ONLY_THERE}[worker]
    return [path for path in found if path.name not in other]


def described(kinds: Mapping[str, str], names: Mapping[str, Sequence[str]], size: int) -> dict[str, Any]:
    """What the page must know of any model, as plain data.

    Args:
        kinds: of the heads by name.
        names: of each head's classes.
        size: side of the model's input in pixels.
    """
    return {
        "title": f"Trident: {', '.join(kinds)}",
        "size": size,
        "heads": {head: {"kind": kind} for head, kind in kinds.items()},
        "labels": {head: list(classes) for head, classes in names.items()},
        "colours": {head: colours_of(kinds[head], classes) for head, classes in names.items()},
    }


def colours_of(kind: str, names: Sequence[str]) -> list[list[int]]:
    """RGB and opacity, 0 .. 255, of every class, as mode=predict draws it; a background is not drawn."""
    if kind == "segmentation":
        return [[*voc_colour(i), 0 if i == 0 and names[0] == BACKGROUND else 255] for i in range(len(names))]
    return [[*class_colour(i), 255] for i in range(len(names))]


def digest(files: list[Path], *texts: str) -> str:
    """Twelve hexadecimal digits that change with the contents."""
    found = hashlib.sha256()
    for file in files:
        found.update(hashlib.sha256(file.read_bytes()).digest())
    for text in texts:
        found.update(text.encode())
    return found.hexdigest()[:12]
