"""Linear classifier of Table 2. Shapes: N images, C channels, H W cells, K classes.

Reference: MobileNetV2, arXiv:1801.04381, Table 2 (pooling and the last 1x1 convolution) and section 6.1 (training).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from backbone.errors import InputError
from heads.head import Head
from heads.structures import Classification, ClassificationTargets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backbone.features import Features, FeatureSpec
    from heads.linear.config import LinearConfig

INITIAL_STD = 0.01


class Linear(Head[Tensor, ClassificationTargets, Classification]):
    """Classification head for images of any size.

    Args:
        specs: what the backbone offers.
        num_classes: K.
    Raises:
        InputError: the backbone has no such tap.
    """

    def __init__(self, config: LinearConfig, specs: Mapping[str, FeatureSpec], *, num_classes: int) -> None:
        super().__init__()
        if config.tap not in specs:
            raise InputError(f"head.tap={config.tap}: the backbone has no such feature; it has {', '.join(specs)}")
        self.config = config
        self.taps = [config.tap]
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(specs[config.tap].channels, num_classes)
        nn.init.normal_(self.classifier.weight, std=INITIAL_STD)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, features: Features) -> Tensor:
        """Logits (N, K) from the tapped map (N, C, H, W)."""
        pooled = features[self.config.tap].mean(dim=(2, 3))
        logits: Tensor = self.classifier(self.dropout(pooled))
        return logits

    def loss(self, outputs: Tensor, targets: ClassificationTargets) -> dict[str, Tensor]:
        """`class`: mean cross entropy with label smoothing; of mixed images, of both labels by their share."""

        def entropy(labels: Tensor) -> Tensor:
            return F.cross_entropy(outputs.float(), labels, label_smoothing=self.config.label_smoothing)

        loss = entropy(targets.labels)
        if targets.mixed_labels is not None and targets.share is not None:
            loss = targets.share * loss + (1 - targets.share) * entropy(targets.mixed_labels)
        return {"class": loss}

    def predict(self, outputs: Tensor, sizes: Tensor) -> list[Classification]:
        """Probabilities of the classes, for each image."""
        return [Classification(scores) for scores in torch.softmax(outputs.float(), dim=1)]

    def convert_state_dict(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Classifier that public weights bring along (see `Head.convert_state_dict`)."""
        return {name: tensors[name] for name in ("classifier.weight", "classifier.bias") if name in tensors}
