"""The papers' figures, as tables, each with its source. Known contradictions are said beside the figure.

Parameters and multiply-adds are in millions. MobileNetV2 is arXiv:1801.04381.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Checkpoint(NamedTuple):
    """Model of the reference implementation: multiply-adds in M, cut and not rounded, and ImageNet top-1 in percent."""

    multiply_adds: int
    top_1: float


CHECKPOINTS = {
    1.4: {224: Checkpoint(582, 75.0)},
    1.3: {224: Checkpoint(509, 74.4)},
    1.0: {
        224: Checkpoint(300, 71.8),
        192: Checkpoint(221, 70.7),
        160: Checkpoint(154, 68.8),
        128: Checkpoint(99, 65.3),
        96: Checkpoint(56, 60.3),
    },
    0.75: {
        224: Checkpoint(209, 69.8),
        192: Checkpoint(153, 68.7),
        160: Checkpoint(107, 66.4),
        128: Checkpoint(69, 63.2),
        96: Checkpoint(39, 58.8),
    },
    0.5: {
        224: Checkpoint(97, 65.4),
        192: Checkpoint(71, 63.9),
        160: Checkpoint(50, 61.0),
        128: Checkpoint(32, 57.7),
        96: Checkpoint(18, 51.2),
    },
    0.35: {
        224: Checkpoint(59, 60.3),
        192: Checkpoint(43, 58.2),
        160: Checkpoint(30, 55.7),
        128: Checkpoint(20, 50.8),
        96: Checkpoint(11, 45.5),
    },
}
"""The 22 published MobileNetV2 classifiers by width and image size (the reference's README)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A model as a paper has it.

    Attributes:
        ours: the key in `models.MODELS` of what we measure beside it; None: not built here, so not measured.
    """

    model: str
    score: float | None = None
    parameters: float | None
    multiply_adds: float | None
    ours: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperTable:
    """A table of models. `score` says what the figure of merit is; empty: the table has none."""

    title: str
    score: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


TABLE_4 = PaperTable(
    title="MobileNetV2, Table 4: ImageNet at 224 px, 1000 classes",
    score="top-1",
    rows=(
        Row(model="MobileNetV1", score=70.6, parameters=4.2, multiply_adds=575),
        Row(model="ShuffleNet (1.5)", score=71.5, parameters=3.4, multiply_adds=292),
        Row(model="ShuffleNet (x2)", score=73.7, parameters=5.4, multiply_adds=524),
        Row(model="NASNet-A", score=74.0, parameters=5.3, multiply_adds=564),
        Row(model="MobileNetV2", score=72.0, parameters=3.4, multiply_adds=300, ours="classifier 1.0"),
        Row(
            model="MobileNetV2 (1.4)",
            score=74.7,
            parameters=6.9,
            multiply_adds=585,
            ours="classifier 1.4",
            note="the printed 6.9 M parameters are those of no implementation",
        ),
    ),
    notes=("Our parameters count the scale and shift of batch normalisation.",),
)

TABLE_5 = PaperTable(
    title="MobileNetV2, Table 5: the detection head alone, 80 classes at 320 px",
    score="",
    rows=(
        Row(model="SSD", parameters=14.8, multiply_adds=1250, ours="ssd head"),
        Row(
            model="SSDLite",
            parameters=2.1,
            multiply_adds=350,
            ours="ssdlite head",
            note="the printed 0.35 B looks like floating-point operations, twice the multiply-adds",
        ),
    ),
)

TABLE_6 = PaperTable(
    title="MobileNetV2, Table 6: COCO test-dev, 80 classes, SSDLite at 320 px",
    score="mAP",
    rows=(
        Row(model="SSD300", score=23.2, parameters=36.1, multiply_adds=35200),
        Row(model="SSD512", score=26.8, parameters=36.1, multiply_adds=99500),
        Row(model="YOLOv2", score=21.6, parameters=50.7, multiply_adds=17500),
        Row(model="MobileNetV1 + SSDLite", score=22.2, parameters=5.1, multiply_adds=1300),
        Row(model="MobileNetV2 + SSDLite", score=22.1, parameters=4.3, multiply_adds=800, ours="ssdlite"),
    ),
)

TABLE_7 = PaperTable(
    title="MobileNetV2, Table 7: PASCAL VOC 2012 val, 21 classes at 513 px",
    score="mIoU",
    rows=(
        Row(model="V1, OS 16, ASPP", score=75.29, parameters=11.15, multiply_adds=14250),
        Row(
            model="V2, OS 16, ASPP",
            score=75.70,
            parameters=4.52,
            multiply_adds=5800,
            ours="deeplab aspp 16",
            note="the printed 5.8 B are more than a count of its layers gives, 5.36 B",
        ),
        Row(
            model="V2, OS 8, ASPP, MF",
            score=78.42,
            parameters=4.52,
            multiply_adds=387000,
            ours="deeplab aspp 8 mf",
            note="again more than its layers give; without ASPP the same sum over passes meets the printed figure",
        ),
        Row(model="V2, OS 16", score=75.32, parameters=2.11, multiply_adds=2750, ours="deeplab 16"),
        Row(model="V2, OS 8, MF", score=77.33, parameters=2.11, multiply_adds=152600, ours="deeplab 8 mf"),
        Row(model="ResNet-101, OS 16, ASPP", score=80.49, parameters=58.16, multiply_adds=81000),
    ),
    notes=(
        "OS: output stride. MF: at six scales, 0.5 to 1.75, each also mirrored; ours is the sum over these passes.",
    ),
)

TABLES = {4: TABLE_4, 5: TABLE_5, 6: TABLE_6, 7: TABLE_7}


class MemoryRow(NamedTuple):
    """A row of Table 3: channels and kB of the largest map at a resolution; kB are 1000 bytes of 16-bit values.

    `stage` is the one whose output channels are printed for MobileNetV2.
    """

    side: int
    v1: tuple[int, int]
    v2: tuple[int, int]
    shufflenet: tuple[int, int]
    stage: str


TABLE_3 = (
    MemoryRow(112, (64, 1600), (16, 400), (32, 800), "stage1"),
    MemoryRow(56, (128, 800), (32, 200), (48, 300), "stage3"),
    MemoryRow(28, (256, 400), (64, 100), (400, 600), "stage4"),
    MemoryRow(14, (512, 200), (160, 62), (800, 310), "stage6"),
    MemoryRow(7, (1024, 199), (320, 32), (1600, 156), "stage7"),
    MemoryRow(1, (1024, 2), (1280, 2), (1600, 3), "last"),
)
TABLE_3_TITLE = "MobileNetV2, Table 3: memory of the largest map at each resolution, 224 px, 16 bit: channels / kB"
TABLE_3_MAXIMA = (1600, 400, 600)
TABLE_3_NOTES = (
    "Printing: the one whose maxima are 1600, 400 and 600 kB; in another they are 800, 200 and 600.",
    "Measured: the largest map between two bottlenecks at that resolution, traced; their inner maps are left out.",
    "The rows 56², 28² and 14² of V2 pair a stage's output channels with the size of its input: no such map exists. "
    "`as printed` makes the same pair from our channels. 112², 7², 1² (cut in print) and the maximum are real maps.",
)
