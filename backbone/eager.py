"""Where a gradient of our own may stand in for PyTorch's: when one is recorded, operator by operator."""

from __future__ import annotations

import torch
from torch import Tensor


def records_gradient(x: Tensor) -> bool:
    """Whether PyTorch records what follows for a gradient, and no compiler, exporter or tracer reads along."""
    return (
        torch.is_grad_enabled() and x.requires_grad and not torch.compiler.is_compiling() and not torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
    )
