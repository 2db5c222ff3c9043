"""Registry of public weights: their names, and where they are.

Names are `source:name`. Some authors put the first digits of a file's SHA-256 into its name: those are checked. Where
none is published, the first download is pinned: its hash is written beside the file and checked from then on.

The addresses stand in torchvision's `models/mobilenetv2.py`, `mobilenetv3.py`, `detection/ssdlite.py` and
`segmentation/`, timm's `models/efficientnet.py` and `mobilenetv3.py`, the README of d-li14/mobilenetv2.pytorch, and
Keras' `applications/mobilenet.py`, `mobilenet_v2.py` and `mobilenet_v3.py`.
"""

from __future__ import annotations

import difflib
from typing import NamedTuple

from backbone.errors import InputError


class RemoteFile(NamedTuple):
    """A file of weights on the net; `sha256` is the published first digits of its hash, None where there is none."""

    url: str
    sha256: str | None = None

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]


TORCHVISION = {
    "IMAGENET1K_V1": ("mobilenet_v2", "b0353104"),
    "IMAGENET1K_V2": ("mobilenet_v2", "7ebf99e0"),
    "mobilenet_v3_large.IMAGENET1K_V1": ("mobilenet_v3_large", "8738ca79"),
    "mobilenet_v3_large.IMAGENET1K_V2": ("mobilenet_v3_large", "5c1a4163"),
    "mobilenet_v3_small.IMAGENET1K_V1": ("mobilenet_v3_small", "047dcff4"),
    "ssdlite320_mobilenet_v3_large": ("ssdlite320_mobilenet_v3_large_coco", "a79551df"),
    "lraspp_mobilenet_v3_large": ("lraspp_mobilenet_v3_large", "d234d4ea"),
    "deeplabv3_mobilenet_v3_large": ("deeplabv3_mobilenet_v3_large", "fc3c493d"),
}
TIMM = {
    "mobilenetv2_050.lamb_in1k": ("mobilenetv2_050", "3d30d450"),
    "mobilenetv2_100.ra_in1k": ("mobilenetv2_100_ra", "b33bc2c4"),
    "mobilenetv2_110d.ra_in1k": ("mobilenetv2_110d_ra", "77090ade"),
    "mobilenetv2_120d.ra_in1k": ("mobilenetv2_120d_ra", "5987e2ed"),
    "mobilenetv2_140.ra_in1k": ("mobilenetv2_140_ra", "21a4e913"),
    "mobilenetv3_large_100.ra_in1k": ("mobilenetv3_large_100_ra", "f55367f5"),
    "mobilenetv3_small_050.lamb_in1k": ("mobilenetv3_small_050_lambc", "4b7bbe87"),
    "mobilenetv3_small_075.lamb_in1k": ("mobilenetv3_small_075_lambc", "384766db"),
    "mobilenetv3_small_100.lamb_in1k": ("mobilenetv3_small_100_lamb", "266a294c"),
    "tf_mobilenetv3_large_075.in1k": ("tf_mobilenetv3_large_075", "150ee8b0"),
    "tf_mobilenetv3_large_100.in1k": ("tf_mobilenetv3_large_100", "427764d5"),
    "tf_mobilenetv3_large_minimal_100.in1k": ("tf_mobilenetv3_large_minimal_100", "8596ae28"),
    "tf_mobilenetv3_small_075.in1k": ("tf_mobilenetv3_small_075", "da427f52"),
    "tf_mobilenetv3_small_100.in1k": ("tf_mobilenetv3_small_100", "37f49e2b"),
    "tf_mobilenetv3_small_minimal_100.in1k": ("tf_mobilenetv3_small_minimal_100", "922a7843"),
}
DLI14 = {
    "0.1": ("mobilenetv2_0.1", "7d1d638a"),
    "0.25": ("mobilenetv2_0.25", "b61d2159"),
    "0.35": ("mobilenetv2_0.35", "b2e15951"),
    "0.5": ("mobilenetv2_0.5", "eaa6f9ad"),
    "0.75": ("mobilenetv2_0.75", "dace9791"),
    "1.0": ("mobilenetv2_1.0", "0c6065bc"),
    "1.0_250epochs": ("mobilenetv2", "c5e733a8"),
    "1.0_192": ("mobilenetv2_192x192", "e423d99e"),
    "1.0_160": ("mobilenetv2_160x160", "64dc7fa1"),
    "1.0_128": ("mobilenetv2_128x128", "fd66a69d"),
    "1.0_96": ("mobilenetv2_96x96", "ff0e83d8"),
}
HUGGING_FACE = (
    "google/mobilenet_v1_0.75_192",
    "google/mobilenet_v1_1.0_224",
    "google/mobilenet_v2_0.35_96",
    "google/mobilenet_v2_0.75_160",
    "google/mobilenet_v2_1.0_224",
    "google/mobilenet_v2_1.4_224",
    "google/deeplabv3_mobilenet_v2_1.0_513",
)
HUGGING_FACE_FILES = ("model.safetensors", "pytorch_model.bin")
KERAS_WIDTHS = ("0.35", "0.5", "0.75", "1.0", "1.3", "1.4")
KERAS_SIZES = (96, 128, 160, 192, 224)
KERAS_V1_WIDTHS = {"0.25": "2_5", "0.5": "5_0", "0.75": "7_5", "1.0": "1_0"}
KERAS_V1_SIZES = (128, 160, 192, 224)
KERAS_V3 = ("large_1.0", "large_0.75", "large_minimalistic_1.0", "small_1.0", "small_0.75", "small_minimalistic_1.0")

TORCHVISION_URL = "https://download.pytorch.org/models/"
TIMM_URL = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/"
DLI14_URL = "https://github.com/d-li14/mobilenetv2.pytorch/raw/master/pretrained/"
HUGGING_FACE_URL = "https://huggingface.co/"
KERAS_URL = "https://storage.googleapis.com/tensorflow/keras-applications/"


def _known() -> dict[str, dict[str, list[RemoteFile]]]:
    """Files of the same weights by source and name; the first that is there will do."""
    return {
        "torchvision": {
            name: [RemoteFile(f"{TORCHVISION_URL}{stem}-{digits}.pth", digits)]
            for name, (stem, digits) in TORCHVISION.items()
        },
        "timm": {name: [RemoteFile(f"{TIMM_URL}{stem}-{digits}.pth", digits)] for name, (stem, digits) in TIMM.items()},
        "hf": {name: _hugging_face(name) for name in HUGGING_FACE},
        "keras": {
            f"{width}_{size}": [
                RemoteFile(f"{KERAS_URL}mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{width}_{size}.h5")
            ]
            for width in KERAS_WIDTHS
            for size in KERAS_SIZES
        }
        | {
            f"v1_{width}_{size}": [RemoteFile(f"{KERAS_URL}mobilenet/mobilenet_{text}_{size}_tf.h5")]
            for width, text in KERAS_V1_WIDTHS.items()
            for size in KERAS_V1_SIZES
        }
        | {
            f"v3_{name}": [RemoteFile(f"{KERAS_URL}mobilenet_v3/weights_mobilenet_v3_{kind}_224_{width}_float.h5")]
            for name in KERAS_V3
            for kind, _, width in [name.rpartition("_")]
        },
        "dli14": {
            name: [RemoteFile(f"{DLI14_URL}{stem}-{digits}.pth", digits)] for name, (stem, digits) in DLI14.items()
        },
    }


def _hugging_face(repository: str) -> list[RemoteFile]:
    return [RemoteFile(f"{HUGGING_FACE_URL}{repository}/resolve/main/{file}") for file in HUGGING_FACE_FILES]


KNOWN = _known()


def files_of(source: str, name: str) -> list[RemoteFile]:
    """Files of `source:name`: alternatives, of which the first that is there will do.

    `hf:OWNER/NAME` may be any repository; those of `google` must be known ones.

    Raises:
        InputError: no such source or name; the message says the nearest that there are.
    """
    if source not in KNOWN:
        known = ", ".join(f"{other}:" for other in KNOWN)
        raise InputError(f"weights {source}:{name}: no such source; known are {known} and paths of files")
    if name in KNOWN[source]:
        return KNOWN[source][name]
    owner, _, repository = name.partition("/")
    if source == "hf" and owner and repository and owner != "google" and "/" not in repository:
        return _hugging_face(name)
    near = difflib.get_close_matches(name, KNOWN[source], n=3, cutoff=0.0)
    raise InputError(
        f"weights {source}:{name}: no such name; nearest are {', '.join(f'{source}:{other}' for other in near)} "
        f"({len(KNOWN[source])} are known)"
    )
