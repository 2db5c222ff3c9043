"""Exported models against Google's own files, all in one run and one thread: milliseconds, size, and what they score.

python benchmarks/runtime.py --google FOLDER FILE [FILE ...] [--imagenet FOLDER] [--voc FOLDER] [--repeats 50]
    [--json FILE]

FOLDER has `tf2_mobilenet_v2_1.0_224_ptq.tflite`, `mobilenet_v2_1.0_224_quant.tflite` and
`deeplabv3_mnv2_pascal_quant.tflite`; a FILE is what mode=export wrote. The candidates take turns, so that a busy
machine disturbs all alike; the figures are medians. A ratio is the time of the fastest of Google's files with the same
input over ours: above 1, ours is faster. Every candidate gets a uint8 image and gives its outputs as numpy arrays.
Google's DeepLab ends at the label map of its input, as ours does with export.mask=true; without that, ours ends at the
logits of cells of 16 pixels.

With `--imagenet` or `--voc` the candidates of that kind answer the validation images, all of them the same pixels:
top-1 of the 1000 classes, mean IoU of the 21. What a network was trained on counts there as much as its 8 bits do.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from benchmarks.timing import Compared, common_options, medians_ms, write_json
from tasks.data.build import build_splits
from tasks.data.config import ImageNetConfig, VocConfig
from tasks.data.transforms.build import evaluation_transform
from tasks.data.transforms.config import DeepLabTransformConfig, ImageNetTransformConfig
from tasks.deploy.artifact import FixedSize, open_artifact
from tasks.deploy.endings import Classes, Pixels
from tasks.deploy.header import read_artifact
from tasks.metrics.accuracy import Accuracy
from tasks.metrics.miou import MeanIoU

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from tasks.data.sample import Sample
    from tasks.data.splits import DataSplits, Images
    from tasks.data.transforms.config import TransformConfig
    from tasks.deploy.endings import Ending

GOOGLE: dict[str, Ending] = {
    "tf2_mobilenet_v2_1.0_224_ptq.tflite": Classes({}),
    "mobilenet_v2_1.0_224_quant.tflite": Classes({}),
    "deeplabv3_mnv2_pascal_quant.tflite": Pixels({}),
}
ZERO = (128, 128, 128)
"""The grey levels that these files take for zero."""


class Candidate(NamedTuple):
    """A file that is ready to run."""

    what: str
    model: FixedSize
    megabytes: float
    is_peer: bool

    def once(self) -> Callable[[], Any]:
        """Answers one image, always the same."""
        image = np.random.default_rng(0).integers(0, 256, (1, self.model.size, self.model.size, 3), np.uint8)
        return lambda: self.model.run(image)


class GoogleRun:
    """One of Google's files in LiteRT."""

    def __init__(self, path: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self.interpreter = Interpreter(model_path=str(path), num_threads=1)
        self.interpreter.allocate_tensors()
        (given,), (found,) = self.interpreter.get_input_details(), self.interpreter.get_output_details()
        self.given, self.found, self.size = given["index"], found["index"], int(given["shape"][1])

    def __call__(self, image: NDArray[np.uint8]) -> list[NDArray[Any]]:
        self.interpreter.set_tensor(self.given, image)
        self.interpreter.invoke()
        found = self.interpreter.get_tensor(self.found)
        return [found[:, 1:] if found.ndim == 2 else found.astype(np.uint8)]  # no background; as bytes, as ours are


def google(path: Path) -> Candidate:
    """One of Google's files."""
    run, ending = GoogleRun(path), GOOGLE[path.name]
    model = FixedSize(run, {ending.kind: ending}, size=run.size, padding=ZERO, what=path.name)
    return Candidate(path.name, model, path.stat().st_size / 1e6, True)


def ours(path: Path) -> Candidate:
    """An exported file in its runtime."""
    header = read_artifact(str(path))
    model = open_artifact(str(path), header, threads=1)
    outputs = (output for ending in model.endings.values() for output in ending.outputs)
    what = f"{header.runtime} {header.precision} {', '.join(header.heads)}: {', '.join(outputs)}"
    return Candidate(what, model, path.stat().st_size / 1e6, False)


def top1(model: FixedSize, data: DataSplits) -> float | None:
    """Of the validation images, seen as torchvision does."""
    accuracy = Accuracy(data.labels.num_classes)
    for sample, found in answered(model, data.val, ImageNetTransformConfig(image_size=model.size)):
        accuracy.update(found.scores[None], torch.tensor([sample.class_index]))
    return accuracy.metrics()["top1"]


def miou(model: FixedSize, data: DataSplits) -> float | None:
    """Of the validation images at their own size, shrunk where they are larger than the input."""
    scores = MeanIoU(data.labels.names)
    for sample, found in answered(model, data.val, DeepLabTransformConfig(max_side=model.size)):
        scores.update(torch.from_numpy(sample.mask), found.mask)
    return scores.compute().miou


def answered(model: FixedSize, images: Images, how: TransformConfig) -> Iterator[tuple[Sample, Any]]:
    """Images, and what the model's only head says of them."""
    transform, ((name, ending),) = evaluation_transform(how), model.endings.items()
    for place in range(len(images)):
        sample = transform(images[place], 0)
        seen = model(torch.from_numpy(sample.image).permute(2, 0, 1)[None])
        yield sample, ending.predict(seen[name], torch.tensor([sample.size]))[0]


def main() -> None:
    parser = common_options(__doc__, repeats=50)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="that mode=export wrote")
    parser.add_argument("--google", type=Path, required=True, metavar="FOLDER", help="with Google's files")
    parser.add_argument("--imagenet", metavar="FOLDER", help="in ImageNet's layout, to score classifiers on its val")
    parser.add_argument("--voc", metavar="FOLDER", help="in VOC's layout, to score segmentation on its val")
    told = parser.parse_args()
    scored: dict[str, tuple[Callable[[FixedSize, DataSplits], float | None], DataSplits]] = {}
    if told.imagenet is not None:
        scored["classification"] = (
            top1,
            build_splits(ImageNetConfig(root=told.imagenet), "classification", need_train=False),
        )
    if told.voc is not None:
        scored["segmentation"] = miou, build_splits(VocConfig(root=told.voc), "segmentation", need_train=False)
    everyone = [google(told.google / name) for name in GOOGLE] + [ours(path) for path in told.files]
    figures, compared = {}, []
    for size in sorted({one.model.size for one in everyone}):
        same = [one for one in everyone if one.model.size == size]
        times = medians_ms([one.once() for one in same], told.repeats)
        best = min((spent for one, spent in zip(same, times, strict=True) if one.is_peer), default=None)
        print(f"\n{size} x {size} pixels{'ms':>41}{'MB':>9}{'ratio':>9}{'score':>9}")
        for one, spent in zip(same, times, strict=True):
            ratio = best / spent if best is not None and not one.is_peer else None
            kinds = [ending.kind for ending in one.model.endings.values()]
            how = scored.get(kinds[0]) if len(kinds) == 1 else None
            score = how[0](one.model, how[1]) if how is not None else None
            last = "".join("        –" if value is None else f"{value:9.3f}" for value in (ratio, score))
            print(f"{one.what:48}{spent:9.2f}{one.megabytes:9.2f}{last}", flush=True)
            told_of = {"ms": spent, "megabytes": one.megabytes, "ratio": ratio, "score": score}
            figures[f"{size} {one.what}"] = told_of
            if ratio is not None and best is not None:
                compared.append(Compared(f"{one.what}, {size} px", spent, "Google's file", best, "ms", ratio))
    write_json(told.json, figures, compared)


if __name__ == "__main__":
    main()
