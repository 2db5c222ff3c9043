"""Latency of checkpoints beside each other in every runtime, such as the start, the result and the control of a search.

python benchmarks/checkpoints.py CHECKPOINT CHECKPOINT.. [--size 224] [--runtimes onnx onnx/int8 ..] [--json FILE]

The checkpoints take turns within a runtime, and the time is the CPU's in one thread, which other processes disturb less
than that of the clock; medians. A file in 8 bits is calibrated on noise, on which its speed does not depend.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.timing import common_options, medians_ms, write_json

RUNTIMES = ("onnx", "onnx/int8", "litert", "litert/int8", "executorch", "executorch/int8")
CALIBRATED = 4


def measured(checkpoints: list[str], size: int, runtime: str, repeats: int) -> list[float]:
    """Milliseconds of each."""
    from tasks.config.export import Format, Precision
    from tasks.deploy.graph import ExportGraph
    from tasks.deploy.toolchains import TOOLCHAINS, tools
    from tasks.predict import load

    name, _, precision = runtime.partition("/")
    module = tools(Format[name], what=runtime, to_write=True)
    noise = np.random.default_rng(0).integers(0, 256, (CALIBRATED, size, size, 3), dtype=np.uint8)
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for number, checkpoint in enumerate(checkpoints):
            graph = ExportGraph(load(checkpoint).model.eval(), size, integers=bool(precision))
            content = module.quantize(graph, list(noise)) if precision else module.convert(graph, Precision.fp32)
            path = Path(folder, f"{number}{TOOLCHAINS[Format[name]].suffix}")
            path.write_bytes(content)
            runs.append(module.Runtime(str(path), graph.names, 1))
        return medians_ms([lambda run=run: run(noise[:1]) for run in runs], repeats, time.process_time)  # type: ignore[misc]


def main() -> None:
    parser = common_options(__doc__, repeats=200)
    parser.add_argument("checkpoints", nargs="+")
    parser.add_argument("--size", type=int, default=224, help="side of the images in pixels")
    parser.add_argument("--runtimes", nargs="+", choices=RUNTIMES, default=list(RUNTIMES))
    told = parser.parse_args()
    found: dict[str, list[float]] = {}
    for runtime in told.runtimes:
        found[runtime] = measured(told.checkpoints, told.size, runtime, told.repeats)
        print(f"{runtime}: {', '.join(f'{ms:.3f}' for ms in found[runtime])} ms", flush=True)
    write_json(told.json, {"checkpoints": told.checkpoints, "size": told.size, "ms": found})


if __name__ == "__main__":
    main()
