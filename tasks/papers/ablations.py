"""What the papers found in their ablations, by the option that is varied. Scores are ImageNet top-1 at 224 px."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

ANSWERS = {
    "backbone.linear_bottleneck": "MobileNetV2, Figure 6a: linear bottlenecks are better than with ReLU6 (curves only)",
    "backbone.shortcut": "MobileNetV2, Figure 6b: bottleneck is better than expansion, that than none (curves only)",
    "backbone.expansion": (
        "MobileNetV2, section 3.3: 5 to 10 are nearly alike; small networks do better with less, large ones with more"
    ),
    "backbone.separable": "MobileNetV1, Table 4: full convolutions 71.7, 4866 M multiply-adds; separable 70.6, 569 M",
    "backbone.shallow": "MobileNetV1, Table 5: shallow 65.3, 307 M multiply-adds; thin (width 0.75) 68.4, 325 M",
    "backbone.h_swish_from": (
        "MobileNetV3, Table 5: from 16 channels 75.4, from 80 (the network) 75.2, from 112 75.0, ReLU everywhere 74.5"
    ),
    "backbone.squeeze": "MobileNetV3, Figure 9: squeeze-and-excitation is one of the steps up (a curve only)",
    "backbone.squeeze_of": (
        "MobileNetV3, section 5.3: a quarter of the expansion is more accurate than of the bottleneck, with modestly"
        " more parameters and no discernible latency (no figures)"
    ),
    "backbone.efficient_last": (
        "MobileNetV3, section 5.1: the efficient last stage saves 7 ms (11 %) and 30 M multiply-adds, with almost no"
        " loss of accuracy"
    ),
    "backbone.kernel": "MobileNetV3, Tables 1 and 2: the search chose 3 and 5; the paper has no figure of either alone",
    "backbone.minimalistic": "MobileNetV3's code: 72.3 for 75.2 of Large, 61.9 for 67.5 of Small",
}


def answers(varied: Iterable[str]) -> list[str]:
    """What the papers say of the options that are varied."""
    return [ANSWERS[key] for key in varied if key in ANSWERS]
