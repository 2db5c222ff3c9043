"""mode=export through the command line, and what it wrote in its own runtime. PyTorch's answers are the oracle."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tasks.deploy.header import read_artifact
from tests.data.builders import jpeg, picture
from tests.e2e.command import tiny_run, trident

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "predict_without_torch.py"
TASKS = ("detection", "segmentation", "classification")
every_task = pytest.mark.parametrize(
    "task", [TASKS[0], *(pytest.param(task, marks=pytest.mark.slow) for task in TASKS[1:])]
)
FIGURES = {"detection": "map", "segmentation": "miou", "classification": "top1"}


def needs(*packages: str) -> pytest.MarkDecorator:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} not installed")


needs_onnx = needs("onnx", "onnxscript", "onnxruntime")
TOOLS = [
    pytest.param("onnx", marks=needs_onnx),
    pytest.param("executorch", marks=[needs("executorch"), pytest.mark.slow]),
    pytest.param("litert", marks=[needs("litert_torch", "ai_edge_quantizer"), pytest.mark.slow]),
]


class Made(dict[str, Path]):
    """By task, made when it is first asked for."""

    def __init__(self, make: Callable[[str], Path]) -> None:
        super().__init__()
        self.make = make

    def __missing__(self, task: str) -> Path:
        return self.setdefault(task, self.make(task))


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    def make(task: str) -> Path:
        folder = tmp_path_factory.mktemp(task)
        with pytest.MonkeyPatch.context() as patch:
            assert tiny_run(patch, folder, f"task={task}", "trainer.max_steps=1") == 0
        return folder / "run" / "model.safetensors"

    return Made(make)


@pytest.fixture(scope="module")
def exported(checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The run folder of an export to ONNX in 8 bits, without the table."""

    def make(task: str) -> Path:
        out = tmp_path_factory.mktemp(f"exported_{task}") / "run"
        words = ("export=onnx", "export.precision=int8", "export.calibration_images=5", "export.compare=false")
        with pytest.MonkeyPatch.context() as patch:
            assert trident(patch, "mode=export", f"checkpoint={checkpoints[task]}", f"run_dir={out}", *words) == 0
        return out

    return Made(make)


@needs_onnx
@pytest.mark.filterwarnings("ignore")
@every_task
def test_the_file_alone_scores_as_the_model(
    monkeypatch: pytest.MonkeyPatch, checkpoints: dict[str, Path], exported: dict[str, Path], tmp_path: Path, task: str
) -> None:
    figures = json.loads((checkpoints[task].parent / "metrics.json").read_text())
    for precision, least in (("fp32", 1e-3), ("int8", 0.5)):
        artifact = exported[task] / f"model_{precision}.onnx"
        out = tmp_path / precision
        assert trident(monkeypatch, "mode=evaluate", f"artifact={artifact}", f"run_dir={out}") == 0
        found = json.loads((out / "metrics.json").read_text())
        name = FIGURES[task]
        assert found["val"][name] == pytest.approx(figures["val"][name], abs=least)
    header = read_artifact(str(exported[task] / "model_int8.onnx"))
    assert header.calibration is not None
    assert len(header.calibration["pictures"]) == 5
    assert header.precision == "int8"
    assert list(header.heads) == [task]


@needs_onnx
@pytest.mark.filterwarnings("ignore")
@every_task
def test_8_bits_are_in_the_file(exported: dict[str, Path], task: str) -> None:
    import onnx

    made = onnx.load(exported[task] / "model_int8.onnx")
    kinds = [node.op_type for node in made.graph.node]
    assert "Clip" not in kinds[: kinds.index("Conv") + 10]
    behind = {name for node in made.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    layers = [node for node in made.graph.node if node.op_type in ("Conv", "Gemm")]
    assert all(set(node.input) <= behind for node in layers)
    scales = {node.output[0]: node.input[1] for node in made.graph.node if node.op_type == "DequantizeLinear"}
    sizes = {tensor.name: list(tensor.dims) for tensor in made.graph.initializer}
    for node in layers:
        assert len(sizes[scales[node.input[1]]]) == 1  # one for each channel
    assert made.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    for precision in ("fp32", "int8"):
        whole = (exported[task] / f"model_{precision}.onnx").read_bytes()
        assert b".py" not in whole  # where the machine that wrote it keeps the sources is nobody's concern


@needs_onnx
@pytest.mark.filterwarnings("ignore")
def test_predict_is_the_same(
    monkeypatch: pytest.MonkeyPatch, checkpoints: dict[str, Path], exported: dict[str, Path], tmp_path: Path
) -> None:
    for n in range(2):
        (tmp_path / f"{n}.jpg").write_bytes(jpeg(picture(50, 70, n)))
    answers = []
    for n, what in enumerate(
        (f"checkpoint={checkpoints['detection']}", f"artifact={exported['detection'] / 'model_fp32.onnx'}")
    ):
        out = tmp_path / f"out{n}"
        words = ("mode=predict", what, f"source={tmp_path / '*.jpg'}", f"run_dir={out}")
        assert trident(monkeypatch, *words) == 0
        answers.append(json.loads((out / "detections.json").read_text()))
    ours, theirs = answers
    assert len(ours) == len(theirs) > 0
    scores = [sorted(one["score"] for one in found) for found in answers]
    np.testing.assert_allclose(*scores, atol=1e-4)


@needs_onnx
@pytest.mark.filterwarnings("ignore")
@every_task
def test_a_process_without_torch_predicts_a_folder(exported: dict[str, Path], tmp_path: Path, task: str) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.jpg").write_bytes(jpeg(picture(50, 70)))
    words = [str(EXAMPLE), str(exported[task] / "model_int8.onnx"), str(photos)]
    code = (
        "import runpy, sys; sys.modules['torch'] = sys.modules['tasks'] = None; sys.argv = sys.argv[1:];"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"a.jpg: {task}: ")


@needs_onnx
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_table(
    monkeypatch: pytest.MonkeyPatch,
    checkpoints: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "run"
    words = ("export.compared_images=2", "export.passes=1", "export.precision=fp16")
    assert (
        trident(monkeypatch, "mode=export", f"checkpoint={checkpoints['classification']}", f"run_dir={out}", *words)
        == 0
    )
    rows = json.loads((out / "export.json").read_text())
    assert [row["what"] for row in rows] == ["PyTorch fp32", "onnx fp32", "onnx fp16"]
    assert rows[1]["differences"]["classification.scores"] < 1e-5
    assert rows[2]["differences"]["classification.scores"] < 1e-2
    assert rows[1]["bytes"] == (out / "model_fp32.onnx").stat().st_size
    assert all(row["one_thread"]["milliseconds"] > 0 for row in rows)
    assert rows[0]["metrics"] == rows[1]["metrics"]
    assert "onnx fp16" in capsys.readouterr().out


@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("tool", TOOLS[1:])
@every_task
def test_other_runtimes(
    monkeypatch: pytest.MonkeyPatch, checkpoints: dict[str, Path], tmp_path: Path, task: str, tool: str
) -> None:
    out = tmp_path / "run"
    words = (f"export={tool}", "export.precision=int8", "export.calibration_images=5", "export.passes=0")
    assert trident(monkeypatch, "mode=export", f"checkpoint={checkpoints[task]}", f"run_dir={out}", *words) == 0
    rows = json.loads((out / "export.json").read_text())
    name = FIGURES[task]
    assert rows[1]["metrics"][name] == pytest.approx(rows[0]["metrics"][name], abs=1e-3)
    assert max(rows[1]["differences"].values()) < 1e-3
    assert rows[2]["bytes"] < rows[1]["bytes"]


@pytest.mark.timeout(900)
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("tool", TOOLS)
def test_a_joint_model_is_one_file(
    monkeypatch: pytest.MonkeyPatch, checkpoints: dict[str, Path], tmp_path: Path, tool: str
) -> None:
    out, evaluated = tmp_path / "run", tmp_path / "evaluated"
    words = (f"export={tool}", "export.precision=int8", "export.calibration_images=5", "export.passes=0")
    assert trident(monkeypatch, "mode=export", f"checkpoint={checkpoints['multitask']}", f"run_dir={out}", *words) == 0
    rows = json.loads((out / "export.json").read_text())
    assert set(rows[0]["metrics"]) == {"scene/top1", "objects/map", "regions/miou"}
    assert rows[1]["metrics"] == pytest.approx(rows[0]["metrics"], abs=1e-3)
    (artifact,) = out.glob("model_int8.*")
    assert trident(monkeypatch, "mode=evaluate", f"artifact={artifact}", f"run_dir={evaluated}") == 0
    found = json.loads((evaluated / "metrics.json").read_text())["val"]
    assert {name: found[name] for name in rows[2]["metrics"]} == pytest.approx(rows[2]["metrics"], abs=1e-6)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("mode=export",), "mode=export: give checkpoint=FILE"),
        (("mode=train", "artifact=m.onnx"), "artifact=m.onnx: no such file"),
        (("mode=evaluate",), "give checkpoint=FILE or artifact=FILE"),
        (("export=coreml",), "export=coreml: there is no such option. Allowed: executorch, litert, onnx"),
        (("export.precision=int4",), "export.precision=int4: must be one of fp32, fp16, int8"),
    ],
)
def test_wrong_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    assert trident(monkeypatch, *words) == 2
    assert message in capsys.readouterr().err


@needs_onnx
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("mode=train",), "needs mode=evaluate, predict or demo"),
        (("mode=evaluate", "transform.image_size=96"), "takes images of 64 x 64 pixels, and the command says"),
        (
            ("mode=evaluate", "backbone.width=1.0"),
            "its backbone and heads are in the file; leave backbone.width=1.0 out",
        ),
        (("mode=evaluate", "task=segmentation"), "holds task=detection, but the command says task=segmentation"),
        (("mode=evaluate", "checkpoint=x"), "give one of them"),
        (("mode=predict", "source=x", "predict.classes=[a]"), "knows the names of its classes"),
    ],
)
def test_a_command_that_does_not_fit_the_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], exported: dict[str, Path],
    tmp_path: Path, words: tuple[str, ...], message: str,
) -> None:  # fmt: skip
    artifact = exported["detection"] / "model_fp32.onnx"
    (tmp_path / "x").write_bytes(jpeg(picture(20, 20)))
    monkeypatch.chdir(tmp_path)
    assert trident(monkeypatch, f"artifact={artifact}", *words) == 2
    assert message in capsys.readouterr().err


@needs_onnx
@pytest.mark.filterwarnings("ignore")
def test_a_graph_that_is_not_the_header_s(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], exported: dict[str, Path], tmp_path: Path
) -> None:
    from tasks.deploy.onnx_file import with_header

    whole = (exported["detection"] / "model_fp32.onnx").read_bytes()
    header = read_artifact(str(exported["detection"] / "model_fp32.onnx"))
    header.labels["detection"] = {"names": ["a", "b", "c", "d", "e", "f", "g", "h"], "ids": list(range(8))}
    artifact = tmp_path / "other.onnx"
    artifact.write_bytes(with_header(whole, header))
    assert trident(monkeypatch, "mode=evaluate", f"artifact={artifact}") == 2
    assert "its header does not fit: it names 8 classes for head detection" in capsys.readouterr().err
    header.heads["detection"]["kind"] = "segmentation"
    header.heads["detection"]["outputs"] = ["logits"]
    header.heads["detection"]["settings"] = {"aligned_corners": True}
    artifact.write_bytes(with_header(whole, header))
    assert trident(monkeypatch, "mode=evaluate", f"artifact={artifact}") == 2
    assert "onnx cannot run it" in capsys.readouterr().err


@needs_onnx
def test_too_few_pictures_and_no_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    words = ("mode=export", f"checkpoint={checkpoints['classification']}", f"run_dir={tmp_path / 'run'}")
    assert trident(monkeypatch, *words, "export.precision=int8") == 2
    assert "export.calibration_images=100: the training data has 12 images" in capsys.readouterr().err
    monkeypatch.setattr("tasks.runs.provenance.find_spec", lambda name: None)
    assert trident(monkeypatch, *words) == 2
    assert "export=onnx: needs onnx, onnxscript, onnxruntime, not installed here" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
