"""What an exported file is worth beside the model that it was made of: metric, difference, size, time, memory."""

from __future__ import annotations

import json
import tempfile
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torchvision.ops import box_iou

from backbone.disk import write_whole
from backbone.errors import InputError
from tasks.config.export import Format
from tasks.data.loading.workers import clean_error
from tasks.data.transforms.build import evaluation_transform
from tasks.deploy import torch_file
from tasks.deploy.artifact import FixedSize, TorchRun, fitted, open_artifact
from tasks.deploy.endings import FewBoxes
from tasks.deploy.opening import padding_of
from tasks.deploy.toolchains import TOOLCHAINS
from tasks.drawing.contact_sheet import spread
from tasks.inference import evaluate
from tasks.timing.other_process import Cost, measured

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tasks.build import Builder
    from tasks.commands.job import Job
    from tasks.config.export import ExportConfig
    from tasks.data.splits import DataSplits, JointSplits
    from tasks.data.transforms.config import TransformConfig
    from tasks.deploy.graph import ExportGraph
    from tasks.deploy.header import ArtifactHeader
    from tasks.deploy.toolchains import Runtime
    from tasks.model import VisionModel

    Pixels = NDArray[np.uint8]

MEETS = 0.5
"""Intersection over union from which on two detections are taken for the same."""


@dataclass(slots=True, kw_only=True)
class Row:
    """One of the models that are compared.

    Attributes:
        metrics: the main one of each head, on the validation split.
        differences: by name of what comes out, the largest from PyTorch's; of probabilities and of boxes as fractions
            of the image these are themselves fractions.
        bytes: of the file; None of PyTorch.
        one_thread, all_threads: of one image; None: `export.passes` is 0.
    """

    what: str
    metrics: dict[str, float | None]
    differences: dict[str, float]
    bytes: int | None
    one_thread: Cost | None
    all_threads: Cost | None


def compare(
    job: Job,
    section: ExportConfig,
    model: VisionModel,
    graph: ExportGraph,
    splits: DataSplits | JointSplits,
    made: Sequence[tuple[Path, ArtifactHeader]],
    *,
    precision: str,
) -> list[Row]:
    """Evaluate, time and measure on the CPU, print the table and write it to `export.json`.

    The model in PyTorch sees the very images that the files see, padded to their one size where they are smaller.

    Args:
        precision: of the model in PyTorch, as `trainer.precision`.
    """
    endings: dict[str, Any] = dict(graph.endings.items())
    told = {"size": graph.size, "padding": padding_of(model), "what": "PyTorch"}
    peer = FixedSize(TorchRun(model, endings), endings, **told)  # type: ignore[arg-type]
    views = _views(job.builder.transform, splits, section.compared_images, graph.size, padding_of(model))
    wanted = [peer.run(view) for view in views]
    one, all_threads = None, None
    if section.passes:
        with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch.export's about its own format
            plain = Path(scratch) / "model.pt2"
            torch_file.save(plain, model, {name: ending.raw for name, ending in endings.items()}, graph.size)
            one, all_threads = _costs(torch_file.__name__, plain, graph.names, graph.size, section.passes)
    metrics = _metrics(job.builder, splits, peer, precision)
    rows = [
        Row(what="PyTorch fp32", metrics=metrics, differences={}, bytes=None, one_thread=one, all_threads=all_threads)
    ]
    for path, header in made:
        artifact = open_artifact(str(path), header)
        module = TOOLCHAINS[Format[header.runtime]].module
        one, all_threads = _costs(module, path, graph.outputs, graph.size, section.passes)
        rows.append(
            Row(
                what=f"{header.runtime} {header.precision}",
                metrics=_metrics(job.builder, splits, artifact, precision),
                differences=differences(artifact.run, views, wanted, graph.outputs),
                bytes=path.stat().st_size,
                one_thread=one,
                all_threads=all_threads,
            )
        )
    write_whole(job.folder / "export.json", json.dumps([asdict(row) for row in rows], indent=2))
    Console().print(table(rows))
    return rows


def differences(
    run: Runtime, views: Sequence[Pixels], wanted: Sequence[Sequence[NDArray[Any]]], names: Sequence[str]
) -> dict[str, float]:
    """The largest from what is wanted, of each output; of a label map, the share of pixels with another class.

    Detections are compared with those that they meet: of `boxes` and `scores` the largest difference of these, and of
    `labels` the share of PyTorch's detections that meet none.
    """
    largest = dict.fromkeys(names, 0.0)
    for view, expected in zip(views, wanted, strict=True):
        outputs, found = run(view), dict.fromkeys(names, 0.0)
        for place, (name, ours, theirs) in enumerate(zip(names, outputs, expected, strict=True)):
            if ours.shape != theirs.shape:
                raise InputError(f"export: {name} is {ours.shape}, and {theirs.shape} in PyTorch; please report it")
            if name.endswith(f".{FewBoxes.outputs[-1]}"):
                three = slice(place - 2, place + 1)
                found |= zip(names[three], of_detections(outputs[three], expected[three]), strict=True)
            elif theirs.dtype == np.uint8:
                found[name] = float((ours != theirs).mean())
            else:
                found[name] = float(np.abs(ours.astype(np.float64) - theirs).max(initial=0.0))
        largest = {name: max(value, found[name]) for name, value in largest.items()}
    return largest


def of_detections(ours: Sequence[NDArray[Any]], theirs: Sequence[NDArray[Any]]) -> tuple[float, float, float]:
    """Differences of `boxes`, `scores` and `labels` (see `FewBoxes`) of one image, best first.

    Each of their detections meets that of ours of its class that overlaps it most, if by `MEETS` and not met yet.

    Returns:
        The largest of the corners and of the scores of those that meet, and the share of theirs that meet none.
    """
    boxes, scores, labels = (torch.from_numpy(np.ascontiguousarray(array[0])) for array in ours)
    their_boxes, their_scores, their_labels = (torch.from_numpy(np.ascontiguousarray(array[0])) for array in theirs)
    overlap = box_iou(their_boxes, boxes) * (their_labels[:, None] == labels) * (scores > 0)
    pairs = []
    for one in (their_scores > 0).nonzero()[:, 0].tolist():
        best = int(overlap[one].argmax())
        if overlap[one, best] >= MEETS:
            pairs.append((one, best))
            overlap[:, best] = 0
    one, other = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T
    corners = (their_boxes[one] - boxes[other]).abs()
    apart = (their_scores[one] - scores[other]).abs()
    count = int((their_scores > 0).sum())
    largest = [float(values.max()) if pairs else 0.0 for values in (corners, apart)]
    return largest[0], largest[1], 1 - len(pairs) / count if count else 0.0


def table(rows: Sequence[Row]) -> Table:
    """For people: a column for each model."""
    shown = Table(box=None, pad_edge=False)
    shown.add_column("")
    for row in rows:
        shown.add_column(row.what, justify="right")
    for name in rows[0].metrics:
        shown.add_row(name, *(_written(row.metrics[name], ".4f") for row in rows))
    for name in rows[-1].differences:
        shown.add_row(f"differs: {name}", *(_written(row.differences.get(name), ".2g") for row in rows))
    shown.add_row("MB", *(_written(None if row.bytes is None else row.bytes / 1e6, ".2f") for row in rows))
    costs = [(row.one_thread, row.all_threads) for row in rows if row.one_thread and row.all_threads]
    if costs:
        shown.add_row("ms, one thread", *(f"{one.milliseconds:.1f}" for one, _ in costs))
        shown.add_row("ms, all threads", *(f"{every.milliseconds:.1f}" for _, every in costs))
        shown.add_row("peak MiB", *(f"{one.mebibytes:.0f}" for one, _ in costs))
    return shown


def _written(value: float | None, how: str) -> str:
    return "–" if value is None else format(value, how)


def _views(
    transform: TransformConfig, splits: DataSplits | JointSplits, count: int, size: int, padding: Sequence[int]
) -> list[Pixels]:
    seen = evaluation_transform(transform)
    places = spread(len(splits.val), count)
    return [fitted(seen(splits.val[place], 0).image, size, padding, "export")[None] for place in places]


def _costs(module: str, path: Path, names: Sequence[str], size: int, passes: int) -> tuple[Cost | None, Cost | None]:
    if not passes:
        return None, None
    one, every = (measured(module, path, names, size, threads=threads, passes=passes) for threads in (1, None))
    return one, every


def _metrics(
    builder: Builder, splits: DataSplits | JointSplits, model: FixedSize, precision: str
) -> dict[str, float | None]:
    """The main metric of each head on the validation split."""
    evaluators = builder.evaluators(splits, "val")
    # A process that holds a toolchain with threads of its own must not fork: no workers.
    batches = builder.loaders(splits, workers=0).evaluation(splits.val)
    try:
        found = evaluate(
            model, evaluators, batches, device=torch.device("cpu"), precision=precision  # type: ignore[arg-type]
        )  # fmt: skip
    except InputError as error:
        raise clean_error(error) from error
    return {
        f"{evaluator.prefix}{evaluator.main_metric}": found[name][evaluator.main_metric]
        for name, evaluator in evaluators.items()
    }
