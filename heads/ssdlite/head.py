"""SSDLite: separable predictors on two features of the backbone and on extra layers behind them.

Shapes: N images, A default boxes, K classes.
Reference: SSD, arXiv:1512.02325; MobileNetV2, arXiv:1801.04381, section 6.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from backbone.blocks import Conv2d, ConvNormAct, Norm
from backbone.errors import InputError
from heads.distillation import soft_boxes
from heads.head import Head, Losses
from heads.ssdlite import loss, tensorflow, torchvision
from heads.ssdlite.box_coder import decode, encode, to_cxcywh, to_xyxy
from heads.ssdlite.class_slots import select_classes
from heads.ssdlite.config import ClassScore, Clip, Predictor, SSDLiteConfig
from heads.ssdlite.default_boxes import box_shapes, default_boxes, map_cells
from heads.ssdlite.matcher import match
from heads.ssdlite.postprocess import detect
from heads.structures import Detections, DetectionTargets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backbone.features import Features, FeatureSpec

MIN_EXTRA_CHANNELS = 16
INITIAL_STD = 0.03


class SSDLiteOutputs(NamedTuple):
    """Class logits (N, A, 1 + K or more), background first, and deltas (N, A, 4) of every default box."""

    logits: Tensor
    deltas: Tensor


class SSDLite(Head[SSDLiteOutputs, DetectionTargets, Detections]):
    """Detection head.

    Args:
        specs: what the backbone offers.
        num_classes: K, without background.
        image_size: side of the square input in pixels; it fixes the default boxes.
    Raises:
        InputError: a tap is not among `specs`.
    """

    CLASS_ROWS = r"class_predictors\.\d+\.1\.(weight|bias)"
    BACKGROUND = 1
    default_boxes_cxcywh: Tensor

    def __init__(
        self, config: SSDLiteConfig, specs: Mapping[str, FeatureSpec], *, num_classes: int, image_size: int
    ) -> None:
        super().__init__()
        missing = [tap for tap in config.taps if tap not in specs]
        if missing:
            raise InputError(f"head.taps={list(config.taps)}: the backbone has no {missing}; it has {', '.join(specs)}")
        if config.class_slots is not None and config.class_slots < 1 + num_classes:
            raise InputError(
                f"head.class_slots={config.class_slots}: must be at least {1 + num_classes}, background and the"
                f" {num_classes} classes of the data, or null"
            )
        self.config = config
        self.taps = list(config.taps)
        self.num_classes = num_classes
        self.class_slots = config.class_slots or 1 + num_classes
        self.norm = Norm(config.bn_eps, config.bn_momentum)

        extra_channels = [
            max(MIN_EXTRA_CHANNELS, int(channels * config.extra_width)) for channels in config.extra_channels
        ]
        channels = [specs[tap].channels for tap in self.taps] + extra_channels
        boxes_per_cell = [len(shapes) for shapes in box_shapes(len(channels), config)]

        self.extras = nn.ModuleList(
            self._extra(before, after)
            for before, after in zip(channels[len(self.taps) - 1 :], extra_channels, strict=False)
        )
        self.class_predictors = nn.ModuleList(
            self._predictor(c, boxes * self.class_slots) for c, boxes in zip(channels, boxes_per_cell, strict=True)
        )
        self.box_predictors = nn.ModuleList(
            self._predictor(c, boxes * 4) for c, boxes in zip(channels, boxes_per_cell, strict=True)
        )
        boxes = default_boxes(map_cells(config, specs, image_size), config)
        self.register_buffer("default_boxes_cxcywh", boxes, persistent=False)
        self._initialise()

    def _extra(self, in_channels: int, out_channels: int) -> nn.Sequential:
        """Extra layer: 1x1 to half the channels, depthwise 3x3 with stride 2, 1x1 to all; SSD's: 1x1 and full 3x3."""
        half = out_channels // 2
        first = ConvNormAct(in_channels, half, norm=self.norm)
        if self.config.dense_extras:
            dense = ConvNormAct(half, out_channels, 3, stride=2, padding=self.config.padding, norm=self.norm)
            return nn.Sequential(first, dense)
        return nn.Sequential(
            first,
            ConvNormAct(half, half, 3, stride=2, groups=half, padding=self.config.padding, norm=self.norm),
            ConvNormAct(half, out_channels, norm=self.norm),
        )

    def _predictor(self, in_channels: int, out_channels: int) -> nn.Sequential:
        """Predictor: SSD's convolution, made separable or not."""
        if self.config.predictor is not Predictor.separable:
            side = 3 if self.config.predictor is Predictor.conv3x3 else 1
            return nn.Sequential(nn.Identity(), nn.Conv2d(in_channels, out_channels, side, padding=side // 2))
        return nn.Sequential(
            ConvNormAct(in_channels, in_channels, 3, groups=in_channels, norm=self.norm),
            nn.Conv2d(in_channels, out_channels, 1),
        )

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, Conv2d) and module.groups > 1:
                module.initialise()
            elif isinstance(module, nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=INITIAL_STD, a=-2 * INITIAL_STD, b=2 * INITIAL_STD)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, features: Features) -> SSDLiteOutputs:
        """Class logits and box offsets for every default box.

        Args:
            features: maps by name, each (N, C, H, W); every one of `taps` must be there.
        """
        maps = [features[tap] for tap in self.taps]
        for extra in self.extras:
            maps.append(extra(maps[-1]))
        return SSDLiteOutputs(
            logits=_by_box(self.class_predictors, maps, self.class_slots),
            deltas=_by_box(self.box_predictors, maps, 4),
        )

    def loss(self, outputs: SSDLiteOutputs, targets: DetectionTargets) -> Losses:
        """`class_loss` and `box_loss`, sums over default boxes divided by the batch's number of matched ones."""
        logits, deltas = outputs.logits.float(), outputs.deltas.float()
        defaults = self.default_boxes_cxcywh
        matches = match(targets, to_xyxy(defaults), self.config.match_iou)
        image, box = matches.positive.nonzero(as_tuple=True)
        learned = matches.objects[image, box]
        matched = max(len(image), 1)

        classes = torch.zeros_like(matches.objects)
        classes[image, box] = 1 + targets.labels[image, learned]
        class_loss = {
            ClassScore.sigmoid: loss.sigmoid_class_loss,
            ClassScore.softmax: loss.softmax_class_loss,
        }[self.config.score]
        # Few default boxes count in the loss. Mining them without a gradient saves the backward pass of the others.
        learning = loss.hard_negative_mining(
            loss.by_image(class_loss, logits.detach(), classes),
            matches,
            self.config.negatives_per_positive,
            self.config.min_negatives,
        )
        wanted = encode(to_cxcywh(targets.boxes_xyxy_rel[image, learned]), defaults[box])
        losses = {
            "class_loss": class_loss(logits[learning], classes[learning]).sum() / matched,
            "box_loss": loss.box_loss(deltas[image, box], wanted) / matched,
        }
        return Losses(losses, normalizer=len(image))

    def distill(self, outputs: SSDLiteOutputs, teacher: SSDLiteOutputs) -> dict[str, Tensor]:
        """`class_distill` and `box_distill` (see `soft_boxes`)."""
        softmax = self.config.score is ClassScore.softmax
        return soft_boxes(outputs.logits, outputs.deltas, teacher.logits, teacher.deltas, softmax=softmax)

    def decode(self, outputs: SSDLiteOutputs) -> tuple[Tensor, Tensor]:
        """Scores (N, A, K) and boxes_xyxy_rel (N, A, 4): where an exported graph ends.

        Boxes are within the image, unless they are cut after suppression.
        """
        logits = outputs.logits.float()
        softmax = self.config.score is ClassScore.softmax
        scores = logits.softmax(dim=-1) if softmax else logits.sigmoid()
        boxes = decode(outputs.deltas.float(), self.default_boxes_cxcywh.float())
        return scores[..., 1 : 1 + self.num_classes], boxes.clamp(0, 1) if self.config.clip is Clip.before else boxes

    def convert_state_dict(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Head of an SSDLite of TensorFlow's object detection API or of torchvision (see `Head.convert_state_dict`)."""
        return tensorflow.convert(tensors) or torchvision.convert(tensors)

    def select_classes(self, tensors: dict[str, Tensor], ids: Sequence[int]) -> dict[str, Tensor]:
        """See `Head.select_classes`: detectors of COCO have 90 classes, ten of which do not occur.

        With `class_slots` the others stay, behind those of the data.

        Raises:
            InputError: the data has an id beyond the slots.
        """
        slots = self.config.class_slots
        if slots is not None and not (min(ids) > 0 and max(ids) < slots):
            raise InputError(
                f"head.class_slots={slots}: the weights know classes 1 .. {slots - 1}, and the data has ids"
                f" {min(ids)} .. {max(ids)}; use data with their classes, or the weights as backbone.weights"
            )
        return select_classes(tensors, ids, keep_others=slots is not None)

    def predict(self, outputs: SSDLiteOutputs, sizes: Tensor) -> list[Detections]:
        """Detections in pixels of the original images, whose height and width `sizes` (N, 2) gives."""
        scores, boxes = self.decode(outputs)
        return detect(
            scores,
            boxes,
            sizes,
            score_threshold=self.config.score_threshold,
            nms_iou=self.config.nms_iou,
            candidates=self.config.candidates,
            max_detections=self.config.max_detections,
            clip=self.config.clip,
        )


def _by_box(predictors: nn.ModuleList, maps: list[Tensor], values: int) -> Tensor:
    """Predictions (N, boxes x values, H, W) of every map as one (N, A, values)."""
    predictions = [predict(x) for predict, x in zip(predictors, maps, strict=True)]
    return torch.cat([x.permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, values)) for x in predictions], dim=1)
