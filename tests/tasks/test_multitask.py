"""Several heads on one backbone: strides, balance, labels that are missing, heads that are frozen or left out."""

from __future__ import annotations

from math import exp, log
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from lightning import Trainer
from torch.utils.data import DataLoader

from backbone import MobileNetV2Config, Padding
from backbone.build import build_backbone
from backbone.errors import InputError
from heads.build import build_head
from heads.deeplabv3.config import DeepLabV3Config
from heads.linear.config import LinearConfig
from heads.ssdlite.config import SSDLiteConfig
from tasks.checkpoints.join_heads import start_heads
from tasks.checkpoints.model_file import Header, load_into, save_model
from tasks.commands.profile.strides import choices
from tasks.config.heads import DeepLabV3HeadConfig, HeadConfig, LinearHeadConfig, SSDLiteHeadConfig
from tasks.config.run import Mode, RunConfig, Task
from tasks.config.training import OptimConfig, TrainerConfig
from tasks.data.config import CocoConfig, FolderConfig, MixedConfig
from tasks.data.labels import LabelMap
from tasks.data.loading.collate import Collate
from tasks.data.sample import Sample
from tasks.model import VisionModel
from tasks.training.balance import FixedWeights, UncertaintyWeights
from tasks.training.gradients import gradient_norms, shared_feature
from tasks.training.heads_first import HeadsFirst
from tasks.vision_task import VisionTask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from heads.structures import Batch

pytestmark = pytest.mark.filterwarnings("ignore:::lightning", "ignore::FutureWarning", "ignore:.*:UserWarning")

SIZE = 65
KINDS = {"scene": "classification", "objects": "detection", "regions": "segmentation"}
HEADS: dict[str, Any] = {"scene": LinearConfig(), "objects": SSDLiteConfig(), "regions": DeepLabV3Config()}
JOINT = MobileNetV2Config(width=0.1, output_stride=16, last_stride=32)


def model(names: tuple[str, ...] = tuple(HEADS), config: MobileNetV2Config = JOINT) -> VisionModel:
    torch.manual_seed(0)
    heads = {name: build_head(HEADS[name], config.specs, num_classes=3, image_size=SIZE) for name in names}
    taps = [tap for head in heads.values() for tap in head.taps]
    return VisionModel(build_backbone(config, list(dict.fromkeys(taps))), heads)


def sample(place: int, known: frozenset[str] | None = None) -> Sample:
    rng = np.random.default_rng(place)
    return Sample(
        image=rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8),
        image_id=place,
        size=(SIZE, SIZE),
        boxes_xyxy_px=np.array([[5, 5, 40, 50]], dtype=np.float32),
        labels=np.array([place % 3]),
        crowd=np.array([False]),
        mask=rng.integers(0, 3, (SIZE, SIZE), dtype=np.uint8),
        class_index=place % 3,
        known=known,
    )


def batch(*known: frozenset[str] | None) -> Batch:
    return Collate(KINDS)([sample(place, heads) for place, heads in enumerate(known)])


def task_of(net: VisionModel, **options: Any) -> VisionTask:
    optim = OptimConfig(learning_rate=0.01, warmup_steps=0, ema_decay=None)
    return VisionTask(net, {}, optim, steps=4, steps_per_epoch=4, **options)


def fit(task: VisionTask, batches: list[Batch], tmp_path: Path, *callbacks: Any) -> dict[str, float]:
    torch.manual_seed(0)  # of dropout
    trainer = Trainer(
        default_root_dir=tmp_path, max_epochs=1, logger=False, enable_checkpointing=False, accelerator="cpu",
        enable_progress_bar=False, enable_model_summary=False, log_every_n_steps=1, callbacks=list(callbacks),
    )  # fmt: skip
    trainer.fit(task, DataLoader(batches, batch_size=None))  # type: ignore[arg-type]
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def state(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def unchanged(module: torch.nn.Module, before: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


@pytest.mark.parametrize("padding", list(Padding))
@pytest.mark.parametrize("size", [(64, 64), (65, 97), (96, 70)])
@pytest.mark.parametrize("output_stride", [8, 16])
def test_the_dilated_network_has_the_cells_of_the_strided_one(
    padding: Padding, size: tuple[int, int], output_stride: int
) -> None:
    strided = build_backbone(MobileNetV2Config(width=0.25, padding=padding), ["last"]).eval()
    torch.manual_seed(1)
    for tensor in strided.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.1, 0.3) if tensor.ndim == 1 else tensor.normal_(std=0.2)
    dilated = MobileNetV2Config(width=0.25, padding=padding, output_stride=output_stride, last_stride=32)
    shared = build_backbone(dilated, ["stage7", "last"]).eval()
    shared.load_state_dict(strided.state_dict())
    images = torch.randn(2, 3, *size)
    found = shared(images)
    torch.testing.assert_close(found["last"], strided(images)["last"], rtol=1e-3, atol=1e-4)
    assert found["stage7"].shape[-1] == -(-size[1] // output_stride)
    assert dilated.specs["last"].stride == 32


@pytest.mark.parametrize("last_stride", [8, 12])
def test_wrong_last_stride(last_stride: int) -> None:
    with pytest.raises(InputError, match=rf"backbone.last_stride={last_stride}: must be one of .* not below"):
        MobileNetV2Config(output_stride=16, last_stride=last_stride)


def test_cost_of_the_strides_by_hand() -> None:
    config = MobileNetV2Config(output_stride=16, last_stride=32)
    heads = {"scene": LinearConfig(), "regions": DeepLabV3Config()}
    rows = {row.what: row for row in choices(config, heads, num_classes=20, image_size=320)}
    one, both = rows["output stride 16, last 32"], rows["output stride 16"]
    assert one.chosen
    assert not both.chosen
    # `last` at 20 x 20 cells instead of 10 x 10.
    assert both.multiply_adds - one.multiply_adds == (400 - 100) * 320 * 1280
    # Stages 6 and 7 once more at 10 x 10 cells, h w d' t (d' + k2 + d''), but for the first expansion, which is shared.
    strided = 100 * 96 * 6 * (9 + 160) + 2 * 100 * 160 * 6 * (160 + 9 + 160) + 100 * 160 * 6 * (160 + 9 + 320)
    twice = rows["output strides 16 and 32, from stage6 on run twice"]
    assert twice.multiply_adds - one.multiply_adds == strided


def test_uncertainty_by_hand() -> None:
    balance = UncertaintyWeights({"a": 1.0, "b": 2.0})
    losses = {"a": torch.tensor(3.0), "b": torch.tensor(0.5)}
    assert balance(losses).item() == pytest.approx(3 + 2 * 0.5)
    with torch.no_grad():
        balance.log_variances["a"].fill_(log(6.0))  # twice the loss: the least
    total = balance(losses)
    assert total.item() == pytest.approx(0.5 + 0.5 * log(6.0) + 1.0)
    total.backward()
    assert balance.log_variances["a"].grad.item() == pytest.approx(0.0, abs=1e-6)  # type: ignore[union-attr]
    assert balance.log_variances["b"].grad.item() == pytest.approx(0.5 - 1.0)  # type: ignore[union-attr]
    assert balance.weights() == pytest.approx({"a": exp(-log(6.0)), "b": 2.0})
    assert balance({"b": losses["b"]}).item() == pytest.approx(1.0)  # a head without a label adds nothing


def test_fixed_weights() -> None:
    balance = FixedWeights({"a": 1.0, "b": 2.0})
    assert balance({"a": torch.tensor(3.0), "b": torch.tensor(0.5)}).item() == 4.0
    assert list(balance.parameters()) == []


def test_gradient_norms_by_hand() -> None:
    feature = torch.tensor([3.0, 4.0], requires_grad=True)
    losses = {"a": (feature**2).sum(), "b": 5 * feature[0]}
    assert {name: norm.item() for name, norm in gradient_norms(losses, feature).items()} == {"a": 10.0, "b": 5.0}
    assert gradient_norms(losses, feature.detach()) == {}


def test_the_last_feature_that_all_share() -> None:
    assert shared_feature(model()) == "context"
    assert shared_feature(model(("scene", "objects"))) == "last"


def test_a_head_answers_about_its_rows_alone() -> None:
    net = model().eval()
    images = batch(None, None, None).images
    features = net.features(images)
    whole = net.forward_heads(features)
    part = net.forward_heads(features, {"scene": torch.tensor([2, 0]), "regions": torch.tensor([], dtype=torch.int64)})
    assert list(part) == ["scene", "objects"]
    torch.testing.assert_close(part["scene"], whole["scene"][[2, 0]])
    assert torch.equal(part["objects"].logits, whole["objects"].logits)


def test_a_head_without_labels_stays_bit_for_bit(tmp_path: Path) -> None:
    net = model()
    before = {name: state(head) for name, head in net.heads.items()}
    boxes = frozenset({"objects"})
    logged = fit(task_of(net), [batch(boxes, boxes, boxes)] * 2, tmp_path)
    assert np.isfinite(logged["train/loss"])
    assert "train/scene/class" not in logged
    assert not unchanged(net.heads["objects"], before["objects"])
    assert unchanged(net.heads["scene"], before["scene"])
    assert unchanged(net.heads["regions"], before["regions"])


def test_missing_labels_change_nothing_for_the_others(tmp_path: Path) -> None:
    alone, joint = model(), model()
    some, every = frozenset({"objects", "regions"}), frozenset(HEADS)
    fit(task_of(alone, factors={"scene": 0.0}), [batch(some, some, some, some)], tmp_path)
    fit(task_of(joint, factors={"scene": 0.0}), [batch(every, every, every, every)], tmp_path)
    assert unchanged(joint, state(alone))


def test_a_single_labelled_image_in_a_batch(tmp_path: Path) -> None:
    net = model()
    boxes = frozenset({"objects"})
    statistics = net.heads["objects"].extras[0][0].norm  # type: ignore[index, union-attr]
    logged = fit(task_of(net), [batch(boxes, frozenset({"scene"}), frozenset({"scene"}))], tmp_path)
    assert np.isfinite(logged["train/loss"])
    assert statistics.num_batches_tracked == 0
    assert statistics.training


def test_a_batch_without_any_label(tmp_path: Path) -> None:
    logged = fit(task_of(model()), [batch(frozenset(), frozenset())], tmp_path)
    assert logged["train/loss"] == 0


def test_a_head_on_a_frozen_backbone_leaves_the_others_alone(tmp_path: Path) -> None:
    net = model(config=MobileNetV2Config(width=0.1, output_stride=16, last_stride=32, freeze_at="last"))
    images = batch(None, None).images
    before = net.eval()(images)
    net.train()
    fit(task_of(net, factors={"scene": 0.0, "regions": 0.0}), [batch(None, None, None)] * 3, tmp_path)
    after = net.eval()(images)
    assert torch.equal(before["scene"], after["scene"])
    assert torch.equal(before["regions"], after["regions"])
    assert not torch.equal(before["objects"].logits, after["objects"].logits)


def test_heads_first_then_all(tmp_path: Path) -> None:
    net = model()
    backbone, heads = state(net.backbone), state(net.heads)
    fit(task_of(net), [batch(None, None)] * 2, tmp_path, HeadsFirst(2))
    assert unchanged(net.backbone, backbone)
    assert not unchanged(net.heads, heads)
    net = model()
    fit(task_of(net), [batch(None, None)] * 3, tmp_path, HeadsFirst(2))
    assert not unchanged(net.backbone, backbone)
    assert all(weight.requires_grad for weight in net.backbone.parameters())


def test_who_pulls_the_backbone_is_logged(tmp_path: Path) -> None:
    balance = UncertaintyWeights(dict.fromkeys(HEADS, 1.0))
    logged = fit(task_of(model(), balance=balance), [batch(None, None, None)] * 2, tmp_path)
    assert all(logged[f"gradient/{name}"] > 0 for name in HEADS)
    assert {logged[f"weight/{name}"] for name in HEADS} != {1.0}
    assert all(value.item() != 0 for value in balance.parameters())


def header(net: VisionModel, **backbone: Any) -> Header:
    ours = {
        "width": 0.1, "depth": 1.0, "fixed_ends": False, "padding": "symmetric", "bn_eps": 1e-3,
        "input_mean": [0.5] * 3, "input_std": [0.5] * 3,
    }  # fmt: skip
    labels = {name: LabelMap.numbered("abc").to_plain() for name in net.heads}
    return Header(config={"backbone": ours | backbone}, choices={}, labels=labels, provenance={})


def test_a_head_that_is_left_out_changes_nothing_for_the_rest(tmp_path: Path) -> None:
    joint = model().eval()
    path = tmp_path / "joint.safetensors"
    save_model(path, joint, header(joint))
    images = batch(None, None).images
    for names in (("scene", "objects"), ("regions",)):
        rest = model(names).eval()
        load_into(str(path), rest, left_out=[name for name in HEADS if name not in names])
        for name, output in rest(images).items():
            torch.testing.assert_close(output, joint(images)[name], rtol=0, atol=0)
    with pytest.raises(InputError, match="holds another model"):
        load_into(str(path), model(("scene",)), left_out=["objects"])


def run_config(**heads: HeadConfig) -> RunConfig:
    return RunConfig(
        task=Task.multitask, heads=heads, backbone=MobileNetV2Config(width=0.1, weights="x"),
        trainer=TrainerConfig(max_steps=1),
    )  # fmt: skip


def start(config: RunConfig, joint: VisionModel, labels: Mapping[str, LabelMap]) -> None:
    start_heads(config.named_heads(), config.backbone, joint, labels)


LABELS = {"scene": LabelMap.numbered("abc"), "objects": LabelMap.numbered("abc")}


def test_heads_start_from_single_runs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    single = VisionModel(build_backbone(MobileNetV2Config(width=0.1), ["last"]), {})
    single.heads["classification"] = build_head(LinearConfig(), JOINT.specs, num_classes=3, image_size=SIZE)
    path = str(tmp_path / "single.safetensors")
    save_model(Path(path), single, header(single))
    joint = model()
    config = run_config(scene=LinearHeadConfig(weights=path), objects=SSDLiteHeadConfig())
    start(config, joint, LABELS)
    assert unchanged(joint.heads["scene"], state(single.heads["classification"]))
    assert "was trained on a backbone of other weights" in caplog.text


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        ({"width": 0.5}, r"was trained on a backbone of width=0.5, this one has width=0.1"),
        ({"padding": "tf_same"}, r"padding=tf_same, this one has padding=symmetric"),
    ],
)
def test_checkpoints_of_different_backbones(backbone: dict[str, Any], message: str, tmp_path: Path) -> None:
    joint = model()
    path = str(tmp_path / "other.safetensors")
    save_model(Path(path), joint, header(joint, **backbone))
    config = run_config(scene=LinearHeadConfig(weights=path), objects=SSDLiteHeadConfig())
    with pytest.raises(InputError, match=message):
        start(config, joint, LABELS)


def test_wrong_starts(tmp_path: Path) -> None:
    joint = model()
    path = str(tmp_path / "joint.safetensors")
    save_model(Path(path), joint, header(joint))
    config = run_config(scene=LinearHeadConfig(weights=path), objects=SSDLiteHeadConfig())
    with pytest.raises(InputError, match="knows 3 classes"):
        start(config, joint, LABELS | {"scene": LabelMap.numbered("abcd")})
    renamed = run_config(more=LinearHeadConfig(weights=path), objects=SSDLiteHeadConfig())
    with pytest.raises(InputError, match="has no head more; it has scene, objects, regions"):
        start(renamed, joint, LABELS)
    wrong = run_config(objects=LinearHeadConfig(weights=path), scene=LinearHeadConfig())
    joint.heads["objects"] = joint.heads["scene"]
    with pytest.raises(InputError, match=r"holds another head: .* tensors do not fit"):
        start(wrong, joint, LABELS)
    config.backbone.weights = None
    with pytest.raises(InputError, match="a head needs the backbone that it was trained on"):
        start(config, joint, LABELS)
    config.backbone.weights = "x"
    joint.backbone = torch.nn.Identity()
    with pytest.raises(InputError, match="on a MobileNet only"):
        start(config, joint, LABELS)


TWO = {"scene": LinearHeadConfig(), "regions": DeepLabV3HeadConfig()}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"heads": None}, "heads: there are none; add one by"),
        ({"heads": TWO | {"a-b": LinearHeadConfig()}}, "heads.a-b: a head's name must be letters"),
        ({"heads": TWO | {"backbone": LinearHeadConfig()}}, "and not `backbone`"),
        ({"heads": TWO | {"more": {"head": {}}}}, "heads.more: is no head; add one by"),
        ({"heads": TWO | {"more": HeadConfig()}}, "heads.more.head: is not set"),
        ({"heads": TWO | {"more": LinearHeadConfig(loss_weight=0.0)}}, "heads.more.loss_weight=0.0: must be positive"),
        (
            {"heads": TWO | {"more": LinearHeadConfig(lr_factor=-1.0)}},
            "heads.more.lr_factor=-1.0: must not be negative",
        ),
        (
            {"heads": {"a": LinearHeadConfig(lr_factor=0.0), "b": LinearHeadConfig(lr_factor=0.0)}},
            r"heads.\*.lr_factor=0: of every head",
        ),
        ({"heads": {**TWO, "more": LinearHeadConfig(data="x")}}, "heads.more.data=x: the data is one data set"),
        (
            {"data": MixedConfig(parts={"scene": FolderConfig()})},
            "heads.regions: has no data: data.parts has no regions",
        ),
        (
            {"data": MixedConfig(parts={"scene": FolderConfig(), "regions": CocoConfig(), "x": CocoConfig()})},
            "data.parts.x: has labels for no head",
        ),
        ({"mode": Mode.inspect}, "mode=inspect task=multitask: looks at one data set at a time"),
        ({"task": Task.detection}, "heads={scene, regions}: needs task=multitask"),
        ({"task": Task.detection, "heads": None, "data": MixedConfig()}, "data=mixed: needs task=multitask"),
        ({"only": ["scene"]}, r"only=\['scene'\]: chooses among the heads of a checkpoint"),
    ],
)
def test_wrong_configurations(values: dict[str, Any], message: str) -> None:
    right = {"task": Task.multitask, "heads": TWO, "trainer": TrainerConfig(max_steps=1)}
    with pytest.raises(InputError, match=message):
        RunConfig(**right | values)  # type: ignore[arg-type]
