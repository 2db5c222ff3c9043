"""mode=demo: a page in the browser whose questions a checkpoint answers here."""

from __future__ import annotations

import ipaddress
import json
import logging
import mimetypes
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from tasks.commands.demo.answers import Answerer
from tasks.commands.demo.server import JSON, DemoServer, ServedFile
from tasks.config.training import AUTO
from tasks.deploy.web.page import ANSWERED_HERE, described, sources
from tasks.runs.stop import Stop

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.commands.job import Job
    from tasks.config.demo import DemoConfig
    from tasks.config.predict import PredictConfig
    from tasks.predictor import Predictor

log = logging.getLogger(__name__)

MEGABYTE = 1_000_000


def demo(
    job: Job, section: DemoConfig, predict: PredictConfig, *, checkpoint: str | None, artifact: str | None
) -> None:
    """Serve the page until Ctrl-C or SIGTERM. Nothing is written.

    Raises:
        InputError: the model of the file does not fit, or the address cannot be had.
    """
    builder = job.builder
    predictor = builder.predictor(predict, checkpoint=checkpoint, artifact=artifact)
    size = builder.transform.image_size
    answer = Answerer(predictor, section.max_megapixels, tiled=predict.tiles not in (None, AUTO))
    kinds = {name: builder.heads[name].kind.value for name in predictor.heads}
    files = _files(_about(predictor, kinds, size, predict.score, str(artifact or checkpoint)))
    max_bytes = int(section.max_megabytes * MEGABYTE)
    with DemoServer(section.host, section.port, files, answer, max_bytes) as server, Stop() as stop:
        server.ask(_grey(size))  # the first pass is slow, and a head whose answers the page cannot show is refused now
        shown = f"[{section.host}]" if ":" in section.host else section.host
        log.info("the page is at http://%s:%d/ (Ctrl-C ends it)", shown, server.server_port)
        if not _is_loopback(section.host):
            log.warning("demo.host=%s: whoever reaches this machine can use the page; nothing is encrypted", shown)
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        stop.wait()
        server.shutdown()


def _about(predictor: Predictor, kinds: Mapping[str, str], size: int, score: float, file: str) -> dict[str, Any]:
    """What the page must know of the model."""
    told = described(kinds, {head: labels.names for head, labels in predictor.labels.items()}, size)
    return told | {
        "file": Path(file).name,
        "precision": predictor.precision,
        "score": score,
        "worker": ANSWERED_HERE,
        "backend": f"Python, {predictor.device.type}",
        "where": "Answered by the program that serves this page: images go there, are not kept, and go nowhere else.",
    }


def _files(about: Mapping[str, Any]) -> dict[str, ServedFile]:
    """Everything that the server has, by path."""
    files = {
        f"/{path.name}": ServedFile(mimetypes.guess_type(path.name)[0] or "text/plain", path.read_bytes())
        for path in sources(ANSWERED_HERE)
    }
    return files | {"/": files["/index.html"], "/model.json": ServedFile(JSON, json.dumps(about).encode())}


def _grey(size: int) -> bytes:
    """An image file to begin with."""
    return cv2.imencode(".png", np.full((size, size, 3), 128, np.uint8))[1].tobytes()


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"
