"""`pipeline.config` beside a checkpoint, in the manner of the API's own ssdlite_mobilenet_v2_coco.config."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from backbone.errors import InputError
from backbone.weights.tensorflow.pipeline import read_pipeline

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """
# SSDLite
model {
  ssd {
    num_classes: 90
    image_resizer { fixed_shape_resizer { height: 320 width: 320 } }
    anchor_generator {
      ssd_anchor_generator { num_layers: 6 min_scale: 0.15 max_scale: 0.9
        aspect_ratios: 1.0
        aspect_ratios: 2.0
        aspect_ratios: 0.5 }
    }
    feature_extractor: < type: "ssd_mobilenet_v2" use_depthwise: true >
    post_processing {
      batch_non_max_suppression {
        score_threshold: 1e-3
        iou_threshold: 0.5
        max_detections_per_class: 50
        max_total_detections: 60
      }
      score_converter: SOFTMAX
    }
  }
}
train_config { batch_size: 24 fine_tune_checkpoint: "a # path {" }
"""


def test_what_it_says(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.config"
    file.write_text(TEXT)
    assert read_pipeline(file) == {
        "image_size": 320,
        "min_scale": 0.15,
        "max_scale": 0.9,
        "aspect_ratios": [1.0, 2.0, 0.5],
        "score": "softmax",
        "score_threshold": 1e-3,
        "nms_iou": 0.5,
        "max_detections": 60,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is no model, but nothing"),
        ("model { faster_rcnn { } }", "there is no ssd, but faster_rcnn"),
        ("model { ssd { image_resizer { keep_aspect_ratio_resizer { } } } }", "there is no fixed_shape_resizer"),
        ("model { ssd { image_resizer { fixed_shape_resizer { height: 3 width: 4 } } } }", "4 x 3 pixels, and only"),
        ("model { ssd {", "a brace is not closed"),
        ("}", "a brace closes nothing"),
        ("model { ssd: }", "ssd has no value"),
        ("model: 3", "model is no message"),
        ("a {" * 50, "nested too deeply"),
        ('model "', "line 1 is no text of a message"),
    ],
)
def test_what_it_must_be(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "pipeline.config"
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        read_pipeline(file)
