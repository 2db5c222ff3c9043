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
from heads.class_weights import MOST, initial_class_weights
from heads.distillation import soft_entropy
from heads.head import Head, Losses
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
        InputError: the backbone has no such tap, or the number of class weights does not fit.
    """

    CLASS_ROWS = r"classifier\.(weight|bias)"
    class_weights: Tensor

    def __init__(self, config: LinearConfig, specs: Mapping[str, FeatureSpec], *, num_classes: int) -> None:
        super().__init__()
        if config.tap not in specs:
            raise InputError(f"head.tap={config.tap}: the backbone has no such feature; it has {', '.join(specs)}")
        self.config = config
        self.taps = [config.tap]
        weights = torch.tensor(initial_class_weights(config.class_weights, num_classes))
        self.register_buffer("class_weights", weights, persistent=False)
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
        """`class`: mean cross entropy with label smoothing; of mixed images, of both labels by their share.

        With `head.class_weights` the mean is weighted by the weight of every image's class.
        """
        if self.config.class_weights is not None:
            return self._weighted_loss(outputs, targets)

        def entropy(labels: Tensor) -> Tensor:
            return F.cross_entropy(outputs.float(), labels, label_smoothing=self.config.label_smoothing)

        loss = entropy(targets.labels)
        if targets.mixed_labels is not None and targets.share is not None:
            loss = targets.share * loss + (1 - targets.share) * entropy(targets.mixed_labels)
        return {"class": loss}

    def _weighted_loss(self, outputs: Tensor, targets: ClassificationTargets) -> Losses:
        weights = self.class_weights.float()

        def sums(labels: Tensor) -> Tensor:
            """Weighted cross entropy and weight of all images, (2,)."""
            smoothing = self.config.label_smoothing
            losses = F.cross_entropy(outputs.float(), labels, reduction="none", label_smoothing=smoothing)
            return torch.stack([losses @ weights[labels], weights[labels].sum()])

        total = sums(targets.labels)
        if targets.mixed_labels is not None and targets.share is not None:
            total = targets.share * total + (1 - targets.share) * sums(targets.mixed_labels)
        loss, weight = total
        return Losses({"class": loss / torch.where(weight > 0, weight, 1)}, normalizer=weight)

    def weigh_classes(self, images: Tensor) -> None:
        """Weights of the classes by their numbers of images (K,): the mean number of a class that occurs over theirs.

        So that every class counts alike, between 0.1 and 10. A class that does not occur has 1.
        """
        weights = torch.ones(len(images))
        occurs = images > 0
        counts = images[occurs].double()
        weights[occurs] = (counts.mean() / counts).clamp(1 / MOST, MOST).float()
        self.class_weights.copy_(weights)

    def divide_logits(self, temperature: float) -> None:
        """Divide the classifier's weights, and with them every logit, by a temperature above 0."""
        with torch.no_grad():
            for parameter in self.classifier.parameters():
                parameter.div_(temperature)

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
