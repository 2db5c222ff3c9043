"""What a page says of the run itself: the model, the data, where the weights came from, versions, time and memory."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from tasks.checkpoints.model_file import CALIBRATION, Header, is_foreign, read_header
from tasks.report.html import Html, tag
from tasks.report.metrics import amounts, folded
from tasks.runs.log import duration
from tasks.runs.provenance import provenance

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tasks.config.run import Task

OWN_WEIGHTS = "model.safetensors"
TIME = "time.json"
RANDOM = "none, from a random start"
PARTS_OF_TIME = {
    "start": "until the first batch",
    "loading": "waiting for images",
    "forward": "",
    "backward": "",
    "computing": "forward, backward and optimiser",
    "optimiser": "with the moving average",
    "evaluation": "while training",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What a page says of a run besides its metrics.

    Attributes:
        task: what is learned.
        kinds: what each head learns, by its name.
        checkpoint: the file evaluated; None after a training, and for what has no checkpoint.
        predictions: the results file that is scored; None where a model is evaluated.
        seed, precision: of the run.
    """

    task: Task
    kinds: Mapping[str, str]
    checkpoint: str | None = None
    predictions: str | None = None
    seed: int = 0
    precision: str = "32-true"


@dataclass(slots=True)
class Weights:
    """Where weights come from.

    Attributes:
        header: of the weights; None for public ones and for a results file.
        here: provenance of this evaluation.
    """

    header: Header | None
    here: dict[str, Any]

    @property
    def trained_here(self) -> bool:
        """Whether the versions of training and evaluation are the same."""
        if self.header is None:
            return False
        trained = {**self.header.provenance, "pretrained": None}
        return {key: trained.get(key) for key in self.here} == self.here


def collect(folder: Path, checkpoint: str | None) -> Weights:
    """From the run folder's own weights, or the header of `checkpoint`."""
    own = folder / OWN_WEIGHTS
    header = None
    if own.is_file():
        header = read_header(str(own))
    elif checkpoint is not None and not is_foreign(checkpoint):
        header = read_header(checkpoint)
    return Weights(header, provenance(None))


def run_section(weights: Weights, run: RunFacts, folder: Path, sizes: Mapping[str, int]) -> Html:
    """Tables of the run.

    Args:
        weights: that were evaluated.
        sizes: images of every split.
    """
    table = tag(
        "figure", tag("figcaption", tag("b", "What was run")), _table(_rows(weights, run, sizes)), class_="card"
    )
    timed = _time(folder / TIME)
    written = weights.header.config if weights.header is not None else None
    configuration = folded("Configuration", "of the training", _tree(written)) if written is not None else None
    return tag(
        "section",
        tag("h2", "The run"),
        tag("div", table, timed, class_="grid") if timed else table,
        configuration,
        id="run",
    )


def peak_memory() -> dict[str, int]:
    """The most memory in bytes so far, of this process without its workers, and of a GPU if one was used."""
    found = {}
    if sys.platform != "win32":
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        found["this process"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    if torch.cuda.is_available():
        found["GPU"] = torch.cuda.max_memory_allocated()
    return {name: size for name, size in found.items() if size}


def _rows(weights: Weights, run: RunFacts, sizes: Mapping[str, int]) -> list[tuple[str, str]]:
    rows = []
    header = weights.header
    if header is not None:
        trained = header.config
        choices = header.choices
        optim, trainer = trained.get("optim", {}), trained.get("trainer", {})
        rows += [
            ("model", _model(trained, choices)),
            ("pretrained", header.provenance.get("pretrained") or RANDOM),
            ("trained on", _data(trained, choices)),
            ("training", _training(trained, optim, trainer)),
        ]
        rows += _calibration(header.provenance.get(CALIBRATION))
    elif run.checkpoint is not None:
        rows.append(("weights", f"{run.checkpoint}, evaluated as they are"))
    elif run.predictions is not None:
        rows.append(("results", run.predictions))
    if header is not None and run.checkpoint is not None:
        rows.append(("checkpoint", run.checkpoint))
    if sizes:
        rows.append(("images", ", ".join(f"{count:,} {name}" for name, count in sizes.items())))
    rows += _versions(weights)
    rows.append(("seed", f"{run.seed}; precision {run.precision}"))
    rows.append(
        (
            "peak memory",
            ", ".join(f"{size / 2**30:.2f} GiB {name}" for name, size in peak_memory().items()) or "unknown",
        )
    )
    rows.append(("CPU time", duration(time.process_time())))
    return rows


def _calibration(found: Any) -> list[tuple[str, str]]:
    """What fitted temperatures did, by head, as the header of a checkpoint has it; which may be anybody's."""
    rows = []
    for head, of_head in (found if isinstance(found, dict) else {}).items():
        values = [of_head.get(key) for key in ("temperature", "error_before", "error_after")]
        if all(isinstance(value, float) for value in values):
            temperature, before, after = values
            said = (
                f"logits of {head} divided by {temperature:.3f}: calibration error on val {before:.4f} -> {after:.4f}"
            )
            rows.append(("calibration", said))
    return rows


def _model(config: Mapping[str, Any], choices: Mapping[str, str]) -> str:
    backbone = config.get("backbone") or {}
    said = [choices.get("backbone", "")]
    said += [
        f"{key.replace('_', ' ')} {backbone[key]}" for key in ("width", "output_stride", "padding") if key in backbone
    ]
    return f"{', '.join(said)} + {choices.get('head', '')}"


def _data(config: Mapping[str, Any], choices: Mapping[str, str]) -> str:
    data, transform = config.get("data") or {}, config.get("transform") or {}
    said = [choices.get("data", "")]
    said += [str(data[key]) for key in ("root",) if data.get(key)]
    said += [f"{transform['image_size']} px" for _ in (0,) if transform.get("image_size")]
    return ", ".join(said)


def _training(config: Mapping[str, Any], optim: Mapping[str, Any], trainer: Mapping[str, Any]) -> str:
    data = config.get("data") or {}
    length = f"{trainer['max_steps']} steps" if trainer.get("max_steps") else f"{trainer.get('max_epochs')} epochs"
    said = [f"at most {length}", f"batches of {data.get('batch_size')}"]
    said += [f"{optim.get('algorithm')} at {optim.get('learning_rate')}", f"{optim.get('schedule')} schedule"]
    return ", ".join(said)


def _versions(weights: Weights) -> list[tuple[str, str]]:
    rows = []
    trained = weights.header.provenance if weights.header is not None else None
    for what, source in (("trained with", trained), ("evaluated with", None if weights.trained_here else weights.here)):
        if source is not None:
            versions = {"python": source.get("python"), **source.get("versions", {})}
            rows.append((what, ", ".join(f"{name} {version}" for name, version in versions.items() if version)))
            if source.get("git"):
                rows.append(("its commit", _commit(source["git"])))
    return rows


def _commit(git: str) -> str:
    return f"{git.removesuffix('+')}{', with changes' if git.endswith('+') else ''}"


def _table(rows: list[tuple[str, str]]) -> Html:
    return tag("dl", [[tag("dt", name), tag("dd", said)] for name, said in rows])


def _time(path: Path) -> Html | None:
    """Where the time of the training went; None if it was not measured."""
    if not path.is_file():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    seconds, steps = found["seconds"], found["steps"]
    total = sum(seconds.values()) or 1.0
    rows = [
        (name, PARTS_OF_TIME.get(name, ""), spent, f"{duration(spent)}|{spent / total:.0%}")
        for name, spent in seconds.items()
    ]
    return amounts(
        rows, title="Time of the training", note=f"{duration(total)}, {steps:,} steps", heads=("", "", "", "")
    )


def _tree(config: Any, depth: int = 0) -> Html:
    """Nested plain data, as YAML would show it."""
    return tag("pre", "\n".join(_lines(config, depth)))


def _lines(config: Mapping[str, Any], depth: int) -> list[str]:
    lines = []
    for key, value in config.items():
        if isinstance(value, dict) and value:
            lines += [f"{'  ' * depth}{key}:", *_lines(value, depth + 1)]
        else:
            lines.append(f"{'  ' * depth}{key}: {value}")
    return lines
