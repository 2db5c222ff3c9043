"""The temperature of logits by hand and by SciPy."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.optimize import minimize_scalar
from torch.nn import functional as F

from tasks.training.temperature import LIMIT, fit_temperature


def test_two_classes_by_hand() -> None:
    """All are 6 logits sure and three of four right: sure as 3/4 they should be, and 6 / T = log 3 says so."""
    logits = torch.tensor([[6.0, 0.0]] * 4)
    labels = torch.tensor([0, 0, 0, 1])
    assert fit_temperature(logits, labels) == pytest.approx(6 / math.log(3))


def test_many_classes_by_scipy() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(200, 5, generator=generator, dtype=torch.float64)
    labels = (logits / 3).softmax(dim=1).multinomial(1, generator=generator)[:, 0]
    found = minimize_scalar(
        lambda log_t: F.cross_entropy(logits / math.exp(log_t), labels).item(), bounds=(-3, 3), method="bounded",
        options={"xatol": 1e-10},
    )  # fmt: skip
    assert fit_temperature(logits, labels) == pytest.approx(math.exp(found.x), rel=1e-5)


def test_limits() -> None:
    right = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    assert fit_temperature(right, torch.tensor([0, 1])) == pytest.approx(1 / LIMIT)
    assert fit_temperature(right, torch.tensor([1, 0])) == pytest.approx(LIMIT)
