"""One joint model against three single ones, one after another, all measured in this run.

python benchmarks/multitask.py [--repeats 15] [--threads 1] [--only 224 320] [--json FILE]

The single models are what a user would run otherwise: a classifier and an SSDLite detector at output stride 32, and a
Mobile DeepLabv3 segmenter at 16. The joint model has the same heads on one backbone. They take turns, so that a busy
machine disturbs all alike; latencies are medians of one image, up to the heads' raw outputs. The ratio is the joint
model's figure over that of the three together: below 1 is better. Weights are random; the joint model's outputs are
checked to be those of the single models. Peak memory is that of the weights, all three loaded, and of the activations
that are alive at a time, of the largest of the three.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torch import nn

from backbone.build import build_backbone
from backbone.cost import cost
from backbone.families.mobilenet_v2 import MobileNetV2Config
from benchmarks.timing import Compared, medians_ms, options, write_json
from heads.build import build_head
from heads.deeplabv3.config import DeepLabV3Config
from heads.linear.config import LinearConfig
from heads.ssdlite.config import SSDLiteConfig
from tasks.commands.profile.models import WithHeads

SIZES = (224, 320)
CLASSES = {"scene": 1000, "objects": 80, "regions": 21}
HEADS: dict[str, Any] = {"scene": LinearConfig(), "objects": SSDLiteConfig(), "regions": DeepLabV3Config()}
STRIDES = {"scene": 32, "objects": 32, "regions": 16}


class Row(NamedTuple):
    """A figure of the joint model, of the single ones, and of all of those run one after another."""

    what: str
    joint: float
    single: dict[str, float]
    together: float

    @property
    def ratio(self) -> float:
        return self.joint / self.together


def build(backbone: MobileNetV2Config, names: list[str], size: int) -> WithHeads:
    """A model with some of the heads, in evaluation, channels last."""
    built = {
        name: build_head(HEADS[name], backbone.specs, num_classes=CLASSES[name], image_size=size) for name in names
    }
    taps = [tap for head in built.values() for tap in head.taps]
    model = WithHeads(build_backbone(backbone, list(dict.fromkeys(taps))), built)
    return model.eval().to(memory_format=torch.channels_last)


def share_weights(joint: WithHeads, single: nn.Module) -> None:
    """The joint model's weights in a single one, which has some of its layers."""
    theirs = joint.state_dict()
    single.load_state_dict({name: theirs[name] for name in single.state_dict()})


def assert_equal(ours: Any, theirs: Any) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def compare(size: int, repeats: int) -> list[Row]:
    """Latency, multiply-adds, parameters and memory at an image size."""
    torch.manual_seed(0)
    joint = build(MobileNetV2Config(output_stride=16, last_stride=32), list(HEADS), size)
    singles = {name: build(MobileNetV2Config(output_stride=STRIDES[name]), [name], size) for name in HEADS}
    for single in singles.values():
        share_weights(joint, single)
    images = torch.randn(1, 3, size, size).contiguous(memory_format=torch.channels_last)
    models: list[nn.Module] = [joint, *singles.values()]
    with torch.inference_mode():
        found = joint(images)
        for name, single in singles.items():
            assert_equal(found[name], single(images)[name])
        times = medians_ms([lambda model=model: model(images) for model in models], repeats)  # type: ignore[misc]
    costs = [cost(model, tuple(images.shape)) for model in models]
    weights = [4e-6 * one.parameters for one in costs]
    alive = [1e-6 * one.peak_activation_bytes for one in costs]

    def row(what: str, figures: list[float], together: float) -> Row:
        return Row(f"{what}, {size} px", figures[0], dict(zip(singles, figures[1:], strict=True)), together)

    adds, parameters = [one.multiply_adds / 1e6 for one in costs], [one.parameters / 1e6 for one in costs]
    memory = [held + most for held, most in zip(weights, alive, strict=True)]
    return [
        row("latency, ms", times, sum(times[1:])),
        row("multiply-adds, M", adds, sum(adds[1:])),
        row("parameters, M", parameters, sum(parameters[1:])),
        row("peak memory, MB", memory, sum(weights[1:]) + max(alive[1:])),
    ]


def table(rows: list[Row]) -> str:
    width = max(len(row.what) for row in rows)
    lines = [f"{'':{width}}  {'joint':>8}" + "".join(f"  {name:>8}" for name in HEADS) + f"  {'together':>8}  ratio"]
    for row in rows:
        figures = "".join(f"  {value:8.2f}" for value in (row.joint, *row.single.values(), row.together))
        lines.append(f"{row.what:{width}}{figures}  {row.ratio:5.2f}")
    return "\n".join(lines)


def main() -> None:
    told = options(__doc__, repeats=15, parts=[str(size) for size in SIZES])
    torch.set_num_threads(told.threads)
    rows = [row for size in told.only for row in compare(int(size), told.repeats)]
    print(f"torch {torch.__version__}, {told.threads} thread(s), medians of {told.repeats}")
    print(table(rows))
    compared = [
        Compared(f"joint model, {row.what}", row.joint, "three single models", row.together, "", 1 / row.ratio)
        for row in rows
    ]
    figures = {"threads": told.threads, "rows": [{**row._asdict(), "ratio": row.ratio} for row in rows]}
    write_json(told.json, figures, compared)


if __name__ == "__main__":
    main()
