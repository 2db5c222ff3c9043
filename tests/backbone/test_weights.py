"""Files of weights: what fits is loaded and told, what does not is refused by name."""

from __future__ import annotations

import json
import os
import pickle
import re
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import save_file

from backbone import InputError, MobileNet, MobileNetV2, MobileNetV3Small, Padding, load
from backbone.weights import read, timm
from backbone.weights.registry import KNOWN, files_of
from backbone.weights.torchvision import rename
from tests.backbone.foreign import as_timm, randomise

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A whole backbone of width 0.35 as timm would have written it."""
    backbone = MobileNetV2(width=0.35)
    randomise(backbone)
    save_file(as_timm(backbone), tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


def test_the_report_says_all(file: Path) -> None:
    backbone = MobileNetV2(width=0.35, features=["stage3"])
    report = load(str(file), backbone)
    assert str(report).startswith(f"weights {file} (timm names): {len(report.loaded)} tensors loaded, 0 left fresh, ")
    assert str(report).endswith("padding symmetric, BN eps 1e-05, input mean 0.485/0.456/0.406, std 0.229/0.224/0.225")
    assert set(report.loaded) == {n for n in backbone.state_dict() if not n.endswith("num_batches_tracked")}
    assert {name.split(".")[0] for name in report.unused} == {"stage4", "stage5", "stage6", "stage7", "last"}


def test_what_the_constructor_was_told_goes_before_the_weights(file: Path) -> None:
    backbone = MobileNetV2(width=0.35, padding="tf_same", bn_eps=0.01, input_mean=(0, 0, 0), input_std=(1, 1, 1))
    load(str(file), backbone)
    assert (backbone.padding, backbone.bn_eps) == (Padding.tf_same, 0.01)
    assert (backbone.input_mean, backbone.input_std) == ((0, 0, 0), (1, 1, 1))


def test_weights_of_another_width_are_refused_and_nothing_changes(file: Path) -> None:
    backbone = MobileNetV2(width=0.5)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    with pytest.raises(
        InputError,
        match=r"tensors do not fit a backbone of width 0.5: .* they look like those of a backbone with width=0.35",
    ):
        load(str(file), backbone)
    assert all(torch.equal(before[name], tensor) for name, tensor in backbone.state_dict().items())
    assert backbone.padding is Padding.symmetric
    assert backbone.bn_eps == 1e-3


def test_blocks_beyond_ours_are_refused(file: Path) -> None:
    tensors = as_timm(MobileNetV2(width=0.35))
    deeper = {name.replace("blocks.2.2.", "blocks.2.3."): tensor for name, tensor in tensors.items()}
    deeper = {name: tensor.clone() for name, tensor in (tensors | deeper).items()}
    save_file(deeper, file)
    with pytest.raises(InputError, match=r"has more blocks or layers than this backbone \(stage3\.3\..* and 14 more"):
        load(str(file), MobileNetV2(width=0.35))
    load(str(file), MobileNetV2(width=0.35, features=["stage3.expand"]))


@pytest.mark.parametrize("lost", ["blocks.2.1.bn2.running_var", "blocks.6.0.conv_pwl.weight", "bn1.bias"])
def test_a_hole_in_a_stage_is_refused(file: Path, lost: str) -> None:
    tensors = as_timm(MobileNetV2(width=0.35))
    ours = timm.rename(lost, "mobilenet_v2")
    del tensors[lost]
    save_file(tensors, file)
    message = f"lacks {ours} and 0 more tensors of stages that it has others of; get a file that is whole"
    with pytest.raises(InputError, match=re.escape(message)):
        load(str(file), MobileNetV2(width=0.35))


def test_a_part_that_is_wholly_absent_stays_fresh(file: Path) -> None:
    tensors = as_timm(MobileNetV2(width=0.35))
    save_file({name: t for name, t in tensors.items() if name.split(".")[0] not in ("conv_head", "bn2")}, file)
    report = load(str(file), MobileNetV2(width=0.35))
    assert {name.split(".")[0] for name in report.fresh} == {"last"}
    assert "5 left fresh (last.conv.weight, last.norm.weight, last.norm.bias, last.norm.running_mean ..)" in str(report)


def test_weights_for_nothing_here_are_refused(tmp_path: Path, file: Path) -> None:
    weights = read(str(file))
    only = {name: tensor for name, tensor in weights.tensors.items() if name.startswith("last.")}
    weights.tensors.clear()
    weights.tensors.update(only)
    with pytest.raises(InputError, match="none of its 5 tensors belongs to this backbone"):
        load(weights, MobileNetV2(width=0.35, features=["stage1"]))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"padding": "same"}, "its header must give padding as one of symmetric, tf_same"),
        ({"bn_eps": "small"}, "bn_eps as a number"),
        ({"mean": "0.5"}, "mean and std as three numbers with commas"),
        ({"bn_eps": "nan"}, "says BN eps nan; must be a positive number$"),
        ({"bn_eps": "-1"}, "says BN eps -1; must be a positive number$"),
        ({"bn_eps": "0"}, "says BN eps 0; must be a positive number$"),
        ({"std": "0.2,0,0.2"}, r"says input std \[0.2, 0.0, 0.2\]; must be three positive numbers$"),
        ({"mean": "inf,0,0"}, r"says input mean \[inf, 0.0, 0.0\]; must be three finite numbers$"),
    ],
)
def test_a_header_is_believed_and_checked(file: Path, header: dict[str, str], message: str) -> None:
    tensors = as_timm(MobileNetV2(width=0.35))
    save_file(tensors, file, {"padding": "tf_same", "bn_eps": "0.001", "mean": "0,0,0", "std": "1,1,1"})
    weights = read(str(file))
    assert (weights.padding, weights.bn_eps) == (Padding.tf_same, 1e-3)
    assert (weights.input_mean, weights.input_std) == ((0, 0, 0), (1, 1, 1))
    save_file(tensors, file, header)
    with pytest.raises(InputError, match=message):
        read(str(file))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(file: Path, value: float) -> None:
    tensors = as_timm(MobileNetV2(width=0.35))
    tensors["bn1.running_var"][0] = value
    save_file(tensors, file)
    with pytest.raises(InputError, match=r"bn1\.running_var holds NaN or infinite values; get the file again"):
        read(str(file))


def test_a_files_origin_must_be_known(tmp_path: Path) -> None:
    save_file({"layer1.0.conv1.weight": torch.zeros(1)}, tmp_path / "resnet.safetensors")
    with pytest.raises(InputError, match=r"its names \(layer1.0.conv1.weight ..\) are of no known MobileNet") as caught:
        read(str(tmp_path / "resnet.safetensors"))
    assert "torchvision, timm, Hugging Face, Keras, d-li14" in str(caught.value)


def test_our_own_files_come_back(tmp_path: Path) -> None:
    backbone = MobileNetV2(width=0.35, padding="tf_same")
    randomise(backbone)
    said = {"padding": "tf_same", "bn_eps": 1e-3, "input_mean": [0.5] * 3, "input_std": [0.5] * 3}
    ours = {f"backbone.{name}": tensor for name, tensor in backbone.state_dict().items()}
    save_file(ours, tmp_path / "m.safetensors", {"config": json.dumps({"backbone": said})})
    again = MobileNetV2(width=0.35)
    assert load(str(tmp_path / "m.safetensors"), again).fresh == []
    assert again.padding is Padding.tf_same
    assert all(torch.equal(tensor, again.state_dict()[n]) for n, tensor in backbone.state_dict().items())
    save_file(ours, tmp_path / "m.safetensors")
    with pytest.raises(InputError, match="has our names but not our header"):
        read(str(tmp_path / "m.safetensors"))


@pytest.mark.parametrize("kept", [0, 7, 100, 40_000])
def test_a_truncated_safetensors_file_is_one_line(file: Path, kept: int) -> None:
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"weights .*w\.safetensors: is no safetensors file, or is damaged .*"):
        read(str(file))


@pytest.mark.parametrize("kept", [0, 7, 1000])
def test_a_truncated_pth_is_one_line(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "w.pth"
    torch.save(as_timm(MobileNetV2(width=0.1)), path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"w\.pth: .*(get the file again|save its state_dict alone)"):
        read(str(path))


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("writer", [torch.save, lambda thing, path: path.write_bytes(pickle.dumps(thing, 2))])
def test_a_pth_that_holds_code_is_refused_and_not_run(tmp_path: Path, writer: Any) -> None:
    writer({"state_dict": Bomb(tmp_path / "ran")}, tmp_path / "w.pth")
    with pytest.raises(
        InputError, match=r"w\.pth: holds more than tensors and is refused, because reading it could run"
    ):
        read(str(tmp_path / "w.pth"))
    assert not (tmp_path / "ran").exists()


def test_a_pth_must_hold_names_with_tensors(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"w\.pth: must hold a state_dict, names with tensors"):
        read(str(tmp_path / "w.pth"))


def test_paths_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"weights nowhere/w\.pth: no such file"):
        read("nowhere/w.pth")
    (tmp_path / "w.onnx").touch()
    with pytest.raises(InputError, match=r"w\.onnx: must end in .safetensors, .pth, .pt, .bin, .h5, .pb"):
        read(str(tmp_path / "w.onnx"))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("timm:mobilenetv2_14", "weights timm:mobilenetv2_14: no such name; nearest are timm:mobilenetv2_140.ra_in1k"),
        ("keras:1.4_244", "nearest are keras:1.4_224"),
        ("torchvision:V2", r"nearest are torchvision:IMAGENET1K_V\d.* \(8 are known\)"),
        ("hf:google/mobilenet_v2_1.0_225", "nearest are hf:google/mobilenet_v2_1.0_224"),
        ("tensorhub:x", "no such source; known are torchvision:, timm:, hf:, keras:, dli14: and paths of files"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(source: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(source)
    assert "\n" not in str(caught.value)


def test_the_table_of_names() -> None:
    assert files_of("keras", "1.4_224")[0].name == "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.4_224.h5"
    assert len(KNOWN["keras"]) == 30 + 16 + 6
    urls = [file.url for names in KNOWN.values() for files in names.values() for file in files]
    assert len(set(urls)) == len(urls)
    hashed = [f for names in KNOWN.values() for files in names.values() for f in files if f.sha256]
    assert all(f"-{file.sha256}.pth" in file.name and len(file.sha256 or "") == 8 for file in hashed)
    assert [file.name for file in files_of("hf", "someone/finetuned")] == ["model.safetensors", "pytorch_model.bin"]


@pytest.mark.parametrize(
    "name", ["features.19.0.weight", "features.x.0.weight", "blocks.1.0.conv_se.weight", "fc.bias"]
)
def test_names_without_a_counterpart_stay(name: str) -> None:
    assert rename(name) == timm.rename(name, "mobilenet_v2") == name


@pytest.mark.parametrize(
    ("theirs", "ours", "message"),
    [
        ({}, MobileNetV3Small(squeeze=False), "has more blocks or layers than this backbone"),
        (
            {},
            MobileNetV3Small(reduced_tail="detection"),
            "tensors do not fit .* look like those of a backbone with width=1 reduced_tail=none",
        ),
        ({"reduced_tail": "segmentation"}, MobileNetV3Small(), "with width=1 reduced_tail=segmentation"),
    ],
)
def test_weights_of_another_form(theirs: dict[str, Any], ours: MobileNet, message: str, tmp_path: Path) -> None:
    """Under timm's names, which say the network by themselves."""
    tensors = as_timm(MobileNetV3Small(**theirs))
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=message):
        load(str(tmp_path / "model.safetensors"), ours)
