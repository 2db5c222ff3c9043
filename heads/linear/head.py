"""Linear classifier of pooled features. Shapes: N images, C channels, H W cells, K classes.

Reference: MobileNetV2, arXiv:1801.04381, Table 2 (pooling and the last 1x1 convolution) and section 6.1 (training);
MobileNetV3, arXiv:1905.02244, section 5.1 (the hidden layer behind pooling).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from backbone.blocks import ACTIVATIONS
from backbone.errors import InputError
from backbone.features import Activation
from heads.distillation import soft_entropy
from heads.head import Head
from heads.structures import Classification, ClassificationTargets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backbone.features import Features, FeatureSpec
    from heads.linear.config import LinearConfig

INITIAL_STD = 0.01
CLASSIFIER = ("classifier.weight", "classifier.bias")


class Linear(Head[Tensor, ClassificationTargets, Classification]):
    """Classification head for images of any size.

    Args:
        specs: what the backbone offers.
        num_classes: K.
    Raises:
        InputError: the backbone has no such tap.
    """

    CLASS_ROWS = r"classifier\.(weight|bias)"

    def __init__(self, config: LinearConfig, specs: Mapping[str, FeatureSpec], *, num_classes: int) -> None:
        super().__init__()
        if config.tap not in specs:
            raise InputError(f"head.tap={config.tap}: the backbone has no such feature; it has {', '.join(specs)}")
        self.config = config
        self.taps = [config.tap]
        spec = specs[config.tap]
        channels = spec.channels
        self.hidden: nn.Module = nn.Identity()
        hidden = (spec.hidden.channels if spec.hidden else 0) if config.hidden is None else config.hidden
        if hidden:
            activation = spec.hidden.activation if spec.hidden else Activation.relu
            normed = spec.hidden is not None and spec.hidden.norm
            norm = [nn.BatchNorm1d(hidden)] if normed else []
            self.hidden = nn.Sequential(
                nn.Linear(channels, hidden, bias=not normed), *norm, ACTIVATIONS[activation](inplace=True)
            )
            channels = hidden
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(channels, num_classes)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=INITIAL_STD)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, features: Features) -> Tensor:
        """Logits (N, K) from the tapped map (N, C, H, W)."""
        pooled = features[self.config.tap].mean(dim=(2, 3), keepdim=True).flatten(1)  # as XNNPACK wants it
        logits: Tensor = self.classifier(self.dropout(self.hidden(pooled)))
        return logits

    def loss(self, outputs: Tensor, targets: ClassificationTargets) -> dict[str, Tensor]:
        """`class`: mean cross entropy with label smoothing; of mixed images, of both labels by their share."""

        def entropy(labels: Tensor) -> Tensor:
            return F.cross_entropy(outputs.float(), labels, label_smoothing=self.config.label_smoothing)

        loss = entropy(targets.labels)
        if targets.mixed_labels is not None and targets.share is not None:
            loss = targets.share * loss + (1 - targets.share) * entropy(targets.mixed_labels)
        return {"class": loss}

    def distill(self, outputs: Tensor, teacher: Tensor) -> dict[str, Tensor]:
        """`class_distill`: mean divergence of the probabilities."""
        return {"class_distill": soft_entropy(outputs, teacher).mean()}

    def predict(self, outputs: Tensor, sizes: Tensor) -> list[Classification]:
        """Probabilities of the classes, for each image."""
        return [Classification(scores) for scores in torch.softmax(outputs.float(), dim=1)]

    def predict_both(self, outputs: Tensor, mirrored: Tensor, sizes: Tensor) -> list[Classification]:
        """Mean of the two probabilities."""
        both = torch.stack([outputs.float(), mirrored.float()]).softmax(dim=-1)
        return [Classification(scores) for scores in both.mean(dim=0)]

    def convert_state_dict(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Classifier that public weights bring along (see `Head.convert_state_dict`)."""
        return {name: tensor for name, tensor in tensors.items() if name.startswith(("hidden.", *CLASSIFIER))}
