"""MobileNetV1's figures (arXiv:1704.04861) that arithmetic can reproduce, beside the keys of what we measure."""

from __future__ import annotations

from tasks.papers.tables import PaperTable, Row

NORMS = "Our parameters count the scale and shift of batch normalisation."

TABLE_4 = PaperTable(
    title="MobileNetV1, Table 4: full or separable convolutions, ImageNet at 224 px",
    score="top-1",
    rows=(
        Row(model="Conv MobileNet", score=71.7, parameters=29.3, multiply_adds=4866, ours="v1 full"),
        Row(model="MobileNet", score=70.6, parameters=4.2, multiply_adds=569, ours="v1 1.0 224"),
    ),
    notes=(NORMS,),
)
TABLE_5 = PaperTable(
    title="MobileNetV1, Table 5: thin or shallow, ImageNet at 224 px",
    score="top-1",
    rows=(
        Row(model="0.75 MobileNet", score=68.4, parameters=2.6, multiply_adds=325, ours="v1 0.75 224"),
        Row(model="Shallow MobileNet", score=65.3, parameters=2.9, multiply_adds=307, ours="v1 shallow"),
    ),
    notes=(NORMS,),
)
TABLE_6 = PaperTable(
    title="MobileNetV1, Table 6: widths, ImageNet at 224 px",
    score="top-1",
    rows=(
        Row(model="1.0", score=70.6, parameters=4.2, multiply_adds=569, ours="v1 1.0 224"),
        Row(model="0.75", score=68.4, parameters=2.6, multiply_adds=325, ours="v1 0.75 224"),
        Row(model="0.5", score=63.7, parameters=1.3, multiply_adds=149, ours="v1 0.5 224"),
        Row(model="0.25", score=50.6, parameters=0.5, multiply_adds=41, ours="v1 0.25 224"),
    ),
    notes=(NORMS,),
)
TABLE_7 = PaperTable(
    title="MobileNetV1, Table 7: image sizes, ImageNet",
    score="top-1",
    rows=(
        Row(model="224", score=70.6, parameters=4.2, multiply_adds=569, ours="v1 1.0 224"),
        Row(model="192", score=69.1, parameters=4.2, multiply_adds=418, ours="v1 1.0 192"),
        Row(model="160", score=67.2, parameters=4.2, multiply_adds=290, ours="v1 1.0 160"),
        Row(model="128", score=64.4, parameters=4.2, multiply_adds=186, ours="v1 1.0 128"),
    ),
    notes=(NORMS,),
)
TABLE_8 = PaperTable(
    title="MobileNetV1, Table 8: beside other networks, ImageNet at 224 px",
    score="top-1",
    rows=(
        Row(model="MobileNet", score=70.6, parameters=4.2, multiply_adds=569, ours="v1 1.0 224"),
        Row(model="GoogleNet", score=69.8, parameters=6.8, multiply_adds=1550),
        Row(model="VGG 16", score=71.5, parameters=138, multiply_adds=15300),
    ),
    notes=(NORMS,),
)
TABLE_9 = PaperTable(
    title="MobileNetV1, Table 9: a small one beside other networks, ImageNet",
    score="top-1",
    rows=(
        Row(model="0.50 MobileNet-160", score=60.2, parameters=1.32, multiply_adds=76, ours="v1 0.5 160"),
        Row(model="SqueezeNet", score=57.5, parameters=1.25, multiply_adds=1700),
        Row(model="AlexNet", score=57.2, parameters=60, multiply_adds=720),
    ),
    notes=(NORMS,),
)
DOGS = "the printed multiply-adds are those of 1000 classes"
TABLE_10 = PaperTable(
    title="MobileNetV1, Table 10: Stanford Dogs, 120 classes",
    score="top-1",
    rows=(
        Row(model="1.0-224", score=83.3, parameters=3.3, multiply_adds=569, ours="v1 dogs 1.0 224", note=DOGS),
        Row(model="0.75-224", score=81.9, parameters=1.9, multiply_adds=325, ours="v1 dogs 0.75 224", note=DOGS),
        Row(model="1.0-192", score=81.9, parameters=3.3, multiply_adds=418, ours="v1 dogs 1.0 192", note=DOGS),
        Row(model="0.75-192", score=80.5, parameters=1.9, multiply_adds=239, ours="v1 dogs 0.75 192", note=DOGS),
    ),
    notes=(NORMS,),
)
TABLES = {4: TABLE_4, 5: TABLE_5, 6: TABLE_6, 7: TABLE_7, 8: TABLE_8, 9: TABLE_9, 10: TABLE_10}
