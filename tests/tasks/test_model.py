"""Scaling on the device, the moving average, and the share of objects that default boxes meet."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torchvision.ops import box_iou
from torchvision.transforms.v2.functional import normalize, to_dtype

from heads.ssdlite.matcher import best_overlap
from tasks.inference import predict
from tasks.model import InputScaling
from tasks.training.ema import MovingAverage
from tests.commands.predict.models import predictor


def test_scaling_equals_torchvisions() -> None:
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 8, 9), dtype=np.uint8))
    wanted = normalize(to_dtype(images, torch.float32, scale=True), list(mean), list(std))
    torch.testing.assert_close(InputScaling(mean, std)(images), wanted)


def test_scaling_to_minus_one_and_one() -> None:
    images = torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 1, 2).expand(1, 3, 1, 2)
    scaled = InputScaling((0.5,) * 3, (0.5,) * 3)(images)
    assert scaled.flatten().tolist() == pytest.approx([-1.0, 1.0] * 3)


def test_scaling_keeps_the_memory_layout() -> None:
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    assert InputScaling((0.5,) * 3, (0.5,) * 3)(images).is_contiguous(memory_format=torch.channels_last)


def test_moving_average_ramps_up() -> None:
    module = nn.Linear(1, 1, bias=False)
    average = AveragedModel(module, **MovingAverage(0.9)._kwargs)
    past = None
    for step in range(5):
        nn.init.constant_(module.weight, float(step))
        average.update_parameters(module)
        # The first update copies; after n updates the past has weight min(0.9, (1 + n) / (10 + n)).
        decay = (1 + step) / (10 + step)
        past = float(step) if past is None else decay * past + (1 - decay) * step
    assert average.module.weight.item() == pytest.approx(past)


def test_moving_average_takes_counters_as_they_are() -> None:
    module = nn.BatchNorm1d(2)
    average = AveragedModel(module, use_buffers=True, **MovingAverage(0.9)._kwargs)
    for _ in range(3):
        module(torch.randn(4, 2))
        average.update_parameters(module)
    assert average.module.num_batches_tracked == 3


def test_best_overlap_equals_torchvisions() -> None:
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(700, 2, generator=generator)
    boxes = torch.cat([low, low + torch.rand(700, 2, generator=generator) + 0.01], dim=1)
    torch.testing.assert_close(best_overlap(boxes, boxes[:50]), box_iou(boxes, boxes[:50]).amax(dim=1))


def test_a_head_answers_about_its_rows_in_the_pixels_of_their_images() -> None:
    model = predictor("segmentation", "classification").model
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 3, 64, 64), dtype=np.uint8))
    sizes = torch.tensor([[40, 60], [30, 20], [64, 64]])
    with torch.inference_mode():
        found = predict(model, images, sizes, {"segmentation": torch.tensor([2, 1]), "other": torch.tensor([0])})
        alone = predict(model, images[[2, 1]], sizes[[2, 1]])
    assert [tuple(answer.mask.shape) for answer in found["segmentation"]] == [(64, 64), (30, 20)]
    assert len(found["classification"]) == 3
    for some, same in zip(found["segmentation"], alone["segmentation"], strict=True):
        assert torch.equal(some.mask, same.mask)
