"""What a file says of itself. The oracle for ONNX is its own library, where it is installed."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from typing import TYPE_CHECKING

import pytest

from backbone.errors import InputError
from tasks.deploy.header import ENTRY, ArtifactHeader, appended, read_artifact

if TYPE_CHECKING:
    from pathlib import Path


def header() -> ArtifactHeader:
    return ArtifactHeader(
        runtime="onnx", precision="int8", size=64, padding=[128, 128, 128],
        heads={"detection": {"kind": "detection", "outputs": ["scores", "boxes"], "settings": {"nms_iou": 0.6}}},
        labels={"detection": {"names": ["ameise", "grün"], "ids": [1, 7]}},
        config={"transform": {"image_size": 64}}, choices={"task": "detection"}, provenance={"licence": "MIT"},
        calibration={"pictures": ["a.jpg"]},
    )  # fmt: skip


def entry(number: int, content: bytes) -> bytes:
    """A field of a protocol buffer with fewer than 2^14 bytes, by hand."""
    length = len(content)
    return bytes([number << 3 | 2, length & 127 | 128, length >> 7]) + content


def as_onnx(text: str) -> bytes:
    pair = entry(1, ENTRY.encode()) + entry(2, text.encode())
    return bytes([8, 10]) + entry(7, b"a graph") + entry(14, entry(1, b"other") + entry(2, b"x")) + entry(14, pair)


@pytest.mark.parametrize("suffix", [".onnx", ".pte", ".tflite"])
def test_a_header_comes_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    text = header().to_json()
    path.write_bytes(as_onnx(text) if suffix == ".onnx" else appended(b"\x1c\0\0\0TFL3" + bytes(500), header()))
    assert read_artifact(str(path)) == header()


def test_the_model_before_the_header_stays_as_it_is(tmp_path: Path) -> None:
    model = bytes(range(256)) * 9
    content = appended(model, header())
    assert content.startswith(model)
    (tmp_path / "m.tflite").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "m.tflite") as archive:
        assert json.loads(archive.read(ENTRY))["labels"]["detection"]["names"] == ["ameise", "grün"]


def test_onnx_reads_the_same(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
    from tasks.deploy.onnx_file import with_header

    node = onnx.helper.make_node("Relu", ["a"], ["b"])
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "ab"]
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", values[:1], values[1:]))
    path = tmp_path / "m.onnx"
    path.write_bytes(with_header(model.SerializeToString(), header()))
    assert read_artifact(str(path)) == header()
    assert {pair.key for pair in onnx.load(path).metadata_props} == {ENTRY}


def changed(**how: object) -> str:
    return json.dumps(json.loads(header().to_json()) | how)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (changed(format="trident-export-9"), "has format trident-export-9; this version reads trident-export-1"),
        (changed(flavour=1), "its header does not fit, in flavour; export it again"),
        (changed(labels={"other": {}}), "heads detection, labels of other; export it again"),
        ("{", "its header is damaged"),
        ("{}", "its header is damaged"),
    ],
)
def test_a_header_that_does_not_fit(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(as_onnx(text))
    with pytest.raises(InputError) as raised:
        read_artifact(str(path))
    assert str(raised.value).startswith(f"artifact={path}: ")
    assert message in str(raised.value)


@pytest.mark.parametrize("name", ["m.onnx", "m.pte"])
@pytest.mark.parametrize("kept", [0, 1, 5, 30, 300])
def test_a_file_that_is_cut_short(tmp_path: Path, name: str, kept: int) -> None:
    path = tmp_path / name
    whole = as_onnx(header().to_json()) if name == "m.onnx" else appended(bytes(700), header())
    path.write_bytes(whole[:kept])
    with pytest.raises(InputError, match="cut short"):
        read_artifact(str(path))


def test_files_that_are_none_of_ours(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file; give a file that mode=export wrote"):
        read_artifact(str(tmp_path / "none.onnx"))
    other = tmp_path / "other.onnx"
    other.write_bytes(bytes([8, 10]))
    with pytest.raises(InputError, match="says nothing of itself: it was not written by mode=export"):
        read_artifact(str(other))
    text = tmp_path / "text.onnx"
    text.write_bytes(b"\x0f is no wire type of protocol buffers")
    with pytest.raises(InputError, match=r"is damaged or cut short \(it is no such file\)"):
        read_artifact(str(text))


def test_every_field_is_written() -> None:
    assert set(json.loads(header().to_json())) == {"format", *(one.name for one in dataclasses.fields(header()))}
