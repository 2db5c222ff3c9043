"""What an exported model sees in a folder of pictures, on a machine without PyTorch and without Trident.

python examples/predict_without_torch.py model_int8.onnx FOLDER

Needs numpy, pillow and onnxruntime. Everything else is in the file: the size of the input, labels, and how boxes that
overlap are told apart. Pictures are stretched to the input (mode=predict looks at them as the header's transform says).
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

LEAST_SCORE = 0.3


def overlap(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of a box with others, corners x, y, x, y."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared = sides.clip(0).prod(axis=1)
    areas = (others[:, 2:] - others[:, :2]).prod(axis=1)
    return shared / (areas + (box[2:] - box[:2]).prod() - shared).clip(1e-12)


def objects(scores: np.ndarray, boxes: np.ndarray, names: list[str], settings: dict) -> list[str]:
    """What is left of the boxes of every class when better ones are taken first."""
    found = []
    for label, name in enumerate(names):
        order = [box for box in np.argsort(-scores[:, label]) if scores[box, label] >= LEAST_SCORE]
        while order:
            best, order = order[0], np.array(order[1:], dtype=int)
            found.append((scores[best, label], f"{name} {scores[best, label]:.2f} at {boxes[best].round(3).tolist()}"))
            order = list(order[overlap(boxes[best], boxes[order]) <= settings["nms_iou"]])
    return [text for _, text in sorted(found, reverse=True)[: settings["detections"]]]


session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
header = json.loads(session.get_modelmeta().custom_metadata_map["trident.json"])
for path in sorted(Path(sys.argv[2]).iterdir()):
    picture = ImageOps.exif_transpose(Image.open(path)).convert("RGB").resize([header["size"]] * 2)
    found = session.run(None, {"image": np.array(picture)[None]})
    outputs = {output.name: tensor for output, tensor in zip(session.get_outputs(), found, strict=True)}
    for name, head in header["heads"].items():
        first = outputs[f"{name}.{head['outputs'][0]}"][0]
        names = header["labels"][name]["names"]
        if head["kind"] == "classification":
            told = [f"{names[label]} {first[label]:.3f}" for label in np.argsort(-first)[:5]]
        elif head["kind"] == "detection":
            told = objects(first, outputs[f"{name}.boxes"][0], names, head["settings"])
        else:
            labels = first.argmax(axis=0) if first.ndim == 3 else first
            told = [f"{names[label]} {(labels == label).mean():.1%}" for label in np.unique(labels)]
        print(f"{path.name}: {name}: {', '.join(told) or 'nothing'}")
