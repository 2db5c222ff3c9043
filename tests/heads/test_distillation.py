"""What a head learns from another's outputs: against torch's own distributions, and zero where both agree."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Bernoulli, Categorical, kl_divergence

from backbone.errors import InputError
from heads.distillation import soft_boxes, soft_entropy
from heads.head import Head


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_the_divergence_is_that_of_torchs_distributions() -> None:
    mine, teacher = torch.randn(3, 5), torch.randn(3, 5)
    wanted = kl_divergence(Categorical(logits=teacher), Categorical(logits=mine))
    torch.testing.assert_close(soft_entropy(mine, teacher), wanted)
    maps = torch.randn(2, 5, 4, 3), torch.randn(2, 5, 4, 3)
    cells = [x.permute(0, 2, 3, 1) for x in maps]
    wanted = kl_divergence(Categorical(logits=cells[1]), Categorical(logits=cells[0]))
    torch.testing.assert_close(soft_entropy(*maps), wanted)


@pytest.mark.parametrize("softmax", [True, False])
def test_boxes_weigh_as_the_teacher_is_sure_of_an_object(softmax: bool) -> None:
    mine, teacher, deltas = torch.randn(2, 7, 4), torch.randn(2, 7, 4), torch.randn(2, 7, 4)
    if softmax:
        weight = 1 - Categorical(logits=teacher).probs[..., 0]
        each = kl_divergence(Categorical(logits=teacher), Categorical(logits=mine))
    else:
        weight = teacher[..., 1:].sigmoid().max(-1).values
        each = kl_divergence(Bernoulli(logits=teacher[..., 1:]), Bernoulli(logits=mine[..., 1:])).sum(-1)
    found = soft_boxes(mine, deltas + 3, teacher, deltas, softmax=softmax)
    torch.testing.assert_close(found["class_distill"], (weight * each).sum() / weight.sum())
    assert found["box_distill"].item() == pytest.approx(4 * 2.5)  # smooth L1 of 3 is 2.5, four numbers a box
    same = soft_boxes(teacher, deltas, teacher, deltas, softmax=softmax)
    assert all(abs(loss.item()) < 1e-6 for loss in same.values())


def test_a_head_that_cannot_says_so() -> None:
    class Foreign(Head):  # type: ignore[type-arg]
        def forward(self, features):  # type: ignore[no-untyped-def]
            raise NotImplementedError

        def loss(self, outputs, targets):  # type: ignore[no-untyped-def]
            raise NotImplementedError

        def predict(self, outputs, sizes):  # type: ignore[no-untyped-def]
            raise NotImplementedError

    with pytest.raises(InputError, match="Foreign: knows no way to learn from another network"):
        Foreign().distill(None, None)
