"""Exported models against Google's own files, all in one run and one thread: milliseconds, size.

python benchmarks/runtime.py --google FOLDER FILE [FILE ...] [--repeats 50] [--json FILE]

FOLDER has `tf2_mobilenet_v2_1.0_224_ptq.tflite`, `mobilenet_v2_1.0_224_quant.tflite` and
`deeplabv3_mnv2_pascal_quant.tflite`; a FILE is what mode=export wrote. The candidates take turns, so that a busy
machine disturbs all alike; the figures are medians. A ratio is the time of the fastest of Google's files with the same
input over ours: above 1, ours is faster. Every candidate gets a uint8 image and gives its outputs as numpy arrays.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks.timing import medians_ms, write_json
from tasks.deploy.artifact import open_artifact
from tasks.deploy.header import read_artifact

if TYPE_CHECKING:
    from collections.abc import Callable

GOOGLE = (
    "tf2_mobilenet_v2_1.0_224_ptq.tflite",
    "mobilenet_v2_1.0_224_quant.tflite",
    "deeplabv3_mnv2_pascal_quant.tflite",
)


class Candidate(NamedTuple):
    """A file that is ready to run."""

    what: str
    size: int
    run: Callable[[], Any]
    megabytes: float
    is_peer: bool


def google(path: Path) -> Candidate:
    """One of Google's files in LiteRT."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    (given,), outputs = interpreter.get_input_details(), interpreter.get_output_details()
    image = np.random.default_rng(0).integers(0, 256, given["shape"], np.uint8)

    def run() -> list[Any]:
        interpreter.set_tensor(given["index"], image)
        interpreter.invoke()
        return [interpreter.get_tensor(output["index"]) for output in outputs]

    return Candidate(path.name, int(given["shape"][1]), run, path.stat().st_size / 1e6, True)


def ours(path: Path) -> Candidate:
    """An exported file in its runtime."""
    header = read_artifact(str(path))
    runtime = open_artifact(str(path), header, threads=1).run
    image = np.random.default_rng(0).integers(0, 256, (1, header.size, header.size, 3), np.uint8)
    what = f"{header.runtime} {header.precision} {', '.join(header.heads)}"
    return Candidate(what, header.size, lambda: runtime(image), path.stat().st_size / 1e6, False)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="that mode=export wrote")
    parser.add_argument("--google", type=Path, required=True, metavar="FOLDER", help="with Google's files")
    parser.add_argument("--repeats", type=int, default=50, help="counted repetitions of each candidate")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    told = parser.parse_args()
    everyone = [google(told.google / name) for name in GOOGLE] + [ours(path) for path in told.files]
    figures = {}
    for size in sorted({one.size for one in everyone}):
        same = [one for one in everyone if one.size == size]
        times = dict(zip(same, medians_ms([one.run for one in same], told.repeats), strict=True))
        best = min((spent for one, spent in times.items() if one.is_peer), default=None)
        print(f"\n{size} x {size} pixels{'ms':>41}{'MB':>9}{'ratio':>9}")
        for one, spent in times.items():
            ratio = best / spent if best is not None and not one.is_peer else None
            print(f"{one.what:48}{spent:9.2f}{one.megabytes:9.2f}" + (f"{ratio:9.2f}" if ratio else ""))
            figures[f"{size} {one.what}"] = {"ms": spent, "megabytes": one.megabytes, "ratio": ratio}
    write_json(told.json, figures)


if __name__ == "__main__":
    main()
