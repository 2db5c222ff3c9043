"""SSDLite: separable predictors on two features of the backbone and on extra layers behind them.

Shapes: N images, A default boxes, K classes.
Reference: SSD, arXiv:1512.02325; MobileNetV2, arXiv:1801.04381, section 6.2.
"""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from backbone.blocks import Conv2d, ConvNormAct, Norm
from backbone.errors import InputError
from heads.distillation import soft_boxes
from heads.head import Head, Losses
from heads.ssdlite import loss, tensorflow, torchvision
from heads.ssdlite.assigners import match_adaptive, match_aligned
from heads.ssdlite.box_coder import decode, encode, to_cxcywh, to_xyxy
from heads.ssdlite.class_slots import select_classes
from heads.ssdlite.config import AUTO, Assigner, BoxLoss, ClassLoss, ClassScore, Clip, Predictor, SSDLiteConfig
from heads.ssdlite.default_boxes import box_shapes, configured_scales, default_boxes, map_cells
from heads.ssdlite.fitted_scales import fitted_scales
from heads.ssdlite.matcher import match, paired_iou
from heads.ssdlite.postprocess import detect
from heads.structures import Detections, DetectionTargets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backbone.features import Features, FeatureSpec
    from heads.ssdlite.matcher import Matches

MIN_EXTRA_CHANNELS = 16
INITIAL_STD = 0.03
RARE = -log(99)
"""Logit of a score of 0.01, where classes start if all default boxes are taught (arXiv:1708.02002, section 4.1)."""


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
    scales: Tensor

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
        scale = configured_scales(config, len(channels))
        self.boxes_per_cell = [len(shapes) for shapes in box_shapes(len(channels), config)]
        self.cells = map_cells(config, specs, image_size)
        self.boxes = [side**2 * boxes for side, boxes in zip(self.cells, self.boxes_per_cell, strict=True)]

        self.extras = nn.ModuleList(
            self._extra(before, after)
            for before, after in zip(channels[len(self.taps) - 1 :], extra_channels, strict=False)
        )
        self.class_predictors = nn.ModuleList(
            self._predictor(c, boxes * self.class_slots) for c, boxes in zip(channels, self.boxes_per_cell, strict=True)
        )
        self.box_predictors = nn.ModuleList(
            self._predictor(c, boxes * 4) for c, boxes in zip(channels, self.boxes_per_cell, strict=True)
        )
        boxes = default_boxes(self.cells, config)
        self.register_buffer("default_boxes_cxcywh", boxes, persistent=False)
        if config.scales == AUTO:  # then they are in no configuration, and have to be kept with the weights
            self.register_buffer("scales", torch.tensor(scale))
            self.register_load_state_dict_post_hook(_with_loaded_scales)  # type: ignore[no-untyped-call]

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

    def fit_scales(self, boxes_xyxy_rel: Tensor, labels: Tensor) -> None:
        """Fit the default boxes to objects (M, 4) of classes (M,), with `head.scales=auto`."""
        fitted = fitted_scales(boxes_xyxy_rel, labels, self.cells, self.scales.tolist(), self.config)
        self.scales.copy_(torch.tensor(fitted))
        _with_loaded_scales(self)

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, Conv2d) and module.groups > 1:
                module.initialise()
            elif isinstance(module, nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=INITIAL_STD, a=-2 * INITIAL_STD, b=2 * INITIAL_STD)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        if self.config.class_loss is not ClassLoss.mined:
            for predictor in self.class_predictors:
                nn.init.constant_(predictor[-1].bias, RARE)  # type: ignore[index]

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
        outputs = SSDLiteOutputs(outputs.logits.float(), outputs.deltas.float())
        matches = self._match(outputs, targets)
        image, box = matches.positive.nonzero(as_tuple=True)
        learned = matches.objects[image, box]
        matched = max(len(image), 1)
        wanted, defaults = targets.boxes_xyxy_rel[image, learned], self.default_boxes_cxcywh[box]
        deltas = outputs.deltas[image, box]

        labels = targets.labels[image, learned]
        if self.config.class_loss is ClassLoss.mined:
            class_loss = self._mined_class_loss(outputs.logits, matches, image, box, labels)
        else:
            scores = self._wanted_scores(outputs.logits, deltas.detach(), wanted, defaults, image, box, labels)
            by_box = loss.dense_class_loss(self.config.class_loss, outputs.logits[..., 1:], scores).sum(dim=-1)
            class_loss = by_box[~matches.ignored].sum()
        if self.config.box_loss is BoxLoss.smooth_l1:
            box_loss = loss.box_loss(deltas, encode(to_cxcywh(wanted), defaults))
        else:
            box_loss = loss.iou_loss(self.config.box_loss, decode(deltas, defaults), wanted)
        losses = {"class_loss": class_loss / matched, "box_loss": self.config.box_weight * box_loss / matched}
        return Losses(losses, normalizer=len(image))

    @torch.no_grad()
    def _match(self, outputs: SSDLiteOutputs, targets: DetectionTargets) -> Matches:
        defaults = to_xyxy(self.default_boxes_cxcywh)
        if self.config.assigner is Assigner.iou:
            return match(targets, defaults, self.config.match_iou)
        if self.config.assigner is Assigner.adaptive:
            return match_adaptive(targets, defaults, self.boxes, self.boxes_per_cell)
        return match_aligned(targets, defaults, *self.decode(outputs))

    def _mined_class_loss(self, logits: Tensor, matches: Matches, image: Tensor, box: Tensor, labels: Tensor) -> Tensor:
        """SSD's: cross entropy of the positive default boxes and of the hardest negative ones, summed.

        Args:
            image, box, labels: (P,) of the positive ones.
        """
        classes = torch.zeros_like(matches.objects)
        classes[image, box] = 1 + labels
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
        return class_loss(logits[learning], classes[learning]).sum()

    def _wanted_scores(
        self, logits: Tensor, deltas: Tensor, wanted: Tensor, defaults: Tensor, image: Tensor, box: Tensor,
        labels: Tensor,
    ) -> Tensor:  # fmt: skip
        """Scores (N, A, K) that are taught: of positive default boxes (P,) 1 for their class, or their boxes' IoU."""
        scores = torch.zeros_like(logits[..., 1:])
        is_focal = self.config.class_loss is ClassLoss.focal
        quality = torch.ones_like(wanted[:, 0]) if is_focal else paired_iou(decode(deltas, defaults), wanted)
        scores[image, box, labels] = quality
        return scores

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
        return self._detect(*self.decode(outputs), sizes)

    def predict_both(self, outputs: SSDLiteOutputs, mirrored: SSDLiteOutputs, sizes: Tensor) -> list[Detections]:
        """Detections of both views, mirrored ones turned back, that non-maximum suppression leaves together."""
        scores, boxes = self.decode(outputs)
        other_scores, other = self.decode(mirrored)
        turned = torch.stack([1 - other[..., 2], other[..., 1], 1 - other[..., 0], other[..., 3]], dim=-1)
        return self._detect(torch.cat([scores, other_scores], dim=1), torch.cat([boxes, turned], dim=1), sizes)

    def _detect(self, scores: Tensor, boxes: Tensor, sizes: Tensor) -> list[Detections]:
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


def _with_loaded_scales(head: SSDLite, _: Any = None) -> None:
    """Make the default boxes those of the scales that have come with the weights."""
    boxes = default_boxes(head.cells, head.config, head.scales.tolist())
    head.default_boxes_cxcywh.copy_(boxes)


def _by_box(predictors: nn.ModuleList, maps: list[Tensor], values: int) -> Tensor:
    """Predictions (N, boxes x values, H, W) of every map as one (N, A, values)."""
    predictions = [predict(x) for predict, x in zip(predictors, maps, strict=True)]
    return torch.cat([x.permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, values)) for x in predictions], dim=1)
