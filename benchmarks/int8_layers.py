"""Where 8 bits lose: what two ONNX files of one model say inside, 32 bits beside 8, tensor by tensor.

python benchmarks/int8_layers.py RUN.. --images FOLDER [--worst 5]

RUN is the folder of `mode=export export=onnx export.precision=int8`; FOLDER holds images, which are stretched to the
size of the input. Printed are the metrics of `export.json`, and signal to noise in decibels: the energy of a tensor in
32 bits over that of its difference, by ONNX Runtime's own comparison. By kind of operator: the median.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader
from onnxruntime.quantization import qdq_loss_debug as debug

if TYPE_CHECKING:
    from numpy.typing import NDArray

IMAGES = 16


class Images(CalibrationDataReader):  # type: ignore[misc]
    """Images of a folder at the size of a model's input."""

    def __init__(self, folder: Path, model: Path) -> None:
        [shape] = [one.type.tensor_type.shape.dim for one in onnx.load(model).graph.input]
        size = (shape[2].dim_value, shape[1].dim_value)
        files = sorted(path for path in folder.rglob("*") if path.suffix in (".png", ".jpg"))[:IMAGES]
        self.left = iter(
            [cv2.resize(cv2.imread(str(file))[..., ::-1], size, interpolation=cv2.INTER_AREA) for file in files]
        )

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        image = next(self.left, None)
        return None if image is None else {"image": np.ascontiguousarray(image)[None]}


def inside(model: Path, images: Path) -> dict[str, Any]:
    """Every tensor of a model, by name, for each image."""
    with tempfile.TemporaryDirectory() as scratch:
        told = str(Path(scratch) / "told.onnx")
        debug.modify_model_output_intermediate_tensors(str(model), told)
        found: dict[str, Any] = debug.collect_activations(told, Images(images, model))
    return found


def compared(run: Path, images: Path) -> list[tuple[float, str, str]]:
    """Signal to noise, operator and name of every tensor that is rounded, the worst first."""
    plain, rounded = run / "model_fp32.onnx", run / "model_int8.onnx"
    matched = debug.create_activation_matching(inside(rounded, images), inside(plain, images))
    errors = debug.compute_activation_error({name: one for name, one in matched.items() if "float" in one})
    kinds = {name: node.op_type for node in onnx.load(plain).graph.node for name in node.output}
    return sorted((one["xmodel_err"], kinds.get(name, "input"), name) for name, one in errors.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--worst", type=int, default=5)
    asked = parser.parse_args()
    for run in asked.runs:
        rows = {
            row["what"]: row.get("metrics", row.get("figures")) for row in json.loads((run / "export.json").read_text())
        }
        print(f"\n{run.name}: " + "; ".join(f"{what} {next(iter(found.values())):.4f}" for what, found in rows.items()))
        found = compared(run, asked.images)
        by_kind: defaultdict[str, list[float]] = defaultdict(list)
        for decibels, kind, _ in found:
            by_kind[kind].append(decibels)
        print(
            "  "
            + ", ".join(f"{kind} {median(values):.1f} dB ({len(values)})" for kind, values in sorted(by_kind.items()))
        )
        for decibels, kind, name in found[: asked.worst]:
            print(f"  {decibels:6.1f} dB  {kind}  {name}")


if __name__ == "__main__":
    main()
