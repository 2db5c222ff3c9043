"""Learning from another network: what is compared, and that it is learned."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from backbone.errors import InputError
from backbone.families.mobilenet_v2 import mobilenet_v2
from heads.build import build_head
from heads.structures import Batch, ClassificationTargets
from tasks.config.search import NetAdaptConfig
from tasks.search.tuning import Tuning, recalibrate
from tasks.training.teacher import Teacher
from tests.search.test_surgery import model_of, tensors

if TYPE_CHECKING:
    from tasks.model import VisionModel


def batch_of(images: int) -> Batch:
    generator = torch.Generator().manual_seed(1)
    return Batch(
        images=torch.randint(0, 256, (images, 3, 64, 64), dtype=torch.uint8, generator=generator),
        targets={"classes": ClassificationTargets(torch.zeros(images, dtype=torch.int64))},
        sizes=torch.full((images, 2), 64),
        image_ids=torch.arange(images),
        rows={},
    )


def model() -> VisionModel:
    torch.manual_seed(0)
    return model_of(mobilenet_v2(0.1)).float()


def test_a_network_has_nothing_to_learn_from_itself() -> None:
    student, batch = model(), batch_of(2)
    teacher = Teacher(copy.deepcopy(student), weight=3.0)
    outputs = student.forward_heads(student.features(batch.images), batch.rows)
    losses = teacher.losses(student, outputs, teacher.outputs(batch, batch.rows))
    assert set(losses) == {"classes", "boxes", "pixels"}
    for of_head in losses.values():
        assert all(abs(loss.item()) < 1e-5 for loss in of_head.values())
    assert not any(parameter.requires_grad for parameter in teacher.model.parameters())


def test_the_teacher_is_learned_and_stays_as_it_is() -> None:
    """All labels are class 0 and count nothing beside the teacher, which is sure of class 2."""
    known = model()
    for name in ("boxes", "pixels"):
        del known.heads[name]
    student = copy.deepcopy(known)
    known.heads["classes"].classifier.bias.data[:] = torch.tensor([-3.0, 0.0, 3.0])  # type: ignore[union-attr]
    before = copy.deepcopy(known.state_dict())
    config = NetAdaptConfig(learning_rate=1e-2, gradient_clip=None)
    tuning = Tuning(student, config, seed=0, teacher=Teacher(known, weight=100.0))
    for _ in range(40):
        tuning.learn(batch_of(8))
    student.eval()
    mine, theirs = (next(tensors(one(batch_of(8).images))).softmax(1) for one in (student, known))
    torch.testing.assert_close(mine.mean(0), theirs.mean(0), rtol=0, atol=0.05)
    assert all(torch.equal(before[name], tensor) for name, tensor in known.state_dict().items())


def test_another_kind_of_network_is_refused() -> None:
    student = model()
    specs = student.backbone.specs
    few = copy.deepcopy(student)
    del few.heads["pixels"]
    with pytest.raises(InputError, match="distill=x: has no head pixels; it has classes, boxes"):
        Teacher(few, 1.0).check("distill=x", student)
    swapped = copy.deepcopy(student)
    swapped.heads["pixels"] = swapped.heads["classes"]
    with pytest.raises(InputError, match="its head pixels is a Linear, and a DeepLabV3 learns here"):
        Teacher(swapped, 1.0).check("distill=x", student)
    larger = copy.deepcopy(student)
    config = replace(student.heads["boxes"].config, min_scale=0.3)  # type: ignore[type-var]
    larger.heads["boxes"] = build_head(config, specs, num_classes=3, image_size=64)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="its head boxes has other default boxes"):
        Teacher(larger, 1.0).check("distill=x", student)
    Teacher(copy.deepcopy(student), 1.0).check("distill=x", student)


def test_statistics_are_plain_means_over_the_batches() -> None:
    """Of the first normalisation, by hand: mean and unbiased variance of the stem's convolution, averaged."""
    network = model()
    batches = [batch_of(3), batch_of(5)]
    momenta = [module.momentum for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    recalibrate(network, batches)
    stem = network.backbone.stem  # type: ignore[union-attr]
    with torch.no_grad():
        maps = [stem.conv(network.scaling(batch.images)) for batch in batches]  # type: ignore[union-attr, operator]
    mean = sum(x.mean((0, 2, 3)) for x in maps) / 2
    variance = sum(x.var((0, 2, 3)) for x in maps) / 2
    torch.testing.assert_close(stem.norm.running_mean, mean)  # type: ignore[union-attr]
    torch.testing.assert_close(stem.norm.running_var, variance)  # type: ignore[union-attr]
    after = [module.momentum for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert after == momenta
    assert not network.training


def test_frozen_statistics_stay() -> None:
    network = model()
    network.backbone._frozen_norms = [network.backbone.stem.norm]  # type: ignore[union-attr, assignment]
    before = copy.deepcopy(network.backbone.stem.norm.state_dict())  # type: ignore[union-attr]
    recalibrate(network, [batch_of(3)])
    after = network.backbone.stem.norm.state_dict()  # type: ignore[union-attr]
    assert all(torch.equal(before[name], tensor) for name, tensor in after.items())
