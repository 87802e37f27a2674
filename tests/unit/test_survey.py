"""`kilotune models`: what becomes of the models in a folder, each in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from golden.reference import tiny
from tflite_files import FileOperator, FileTensor, build, many_ends, uint8_classifier

import kilotune as kt
from kiloc.export import onnx as onnx_writer
from kilotune.cli import main
from kilotune.survey import folder as folders
from kilotune.survey import one, oracles
from kilotune.survey.page import bits, markdown, others

SAMPLES = 6


def float_ended() -> bytes:
    """An INT8 rectifier between FLOAT32 ends, with a float operator behind it."""
    ends = [FileTensor((1, 4), "FLOAT32", None, name=name) for name in ("x", "y", "z")]
    tensors = [ends[0], FileTensor((1, 4), name="a"), FileTensor((1, 4), name="b"), *ends[1:]]
    operators = [
        FileOperator("QUANTIZE", (0,), (1,)),
        FileOperator("RELU", (1,), (2,)),
        FileOperator("DEQUANTIZE", (2,), (3,)),
        FileOperator("LOGISTIC", (3,), (4,)),
    ]
    return build(tensors, operators, (0,), (4,))


def unknown() -> bytes:
    pair = [FileTensor((1, 4), name="x"), FileTensor((1, 4), name="y")]
    return build(pair, [FileOperator("COS", (0,), (1,))], (0,), (1,))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("data") / "models"
    made.mkdir()
    files = {"bytes.tflite": uint8_classifier(), "ends.tflite": many_ends(), "float_ends.tflite": float_ended(), "unknown.tflite": unknown()}
    files |= {"damaged.tflite": uint8_classifier()[:200], "tiny.onnx": onnx_writer.write(tiny()), "notes.txt": b"no model"}
    for name, data in files.items():
        (made / name).write_bytes(data)
    return made


@pytest.fixture(scope="module")
def surveyed(folder: Path) -> Result:
    page = folder.parent / "page.md"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KILOTUNE_DATA", str(folder.parent))
        return CliRunner().invoke(main, ["models", str(folder), "--json", f"--samples={SAMPLES}", "--write", str(page)])


def test_every_file_is_accounted_for(surveyed: Result) -> None:
    pytest.importorskip("tflite_micro")
    pytest.importorskip("onnxruntime")
    assert surveyed.exit_code == 0, surveyed.output
    found: dict[str, Any] = json.loads(surveyed.stdout)
    rows = {row["file"]: row for row in found["folders"]["$KILOTUNE_DATA/models"]}
    assert sorted(rows) == ["bytes.tflite", "damaged.tflite", "ends.tflite", "float_ends.tflite", "tiny.onnx", "unknown.tflite"]
    for name in ("bytes.tflite", "ends.tflite", "float_ends.tflite"):
        assert (rows[name]["outcome"], rows[name]["oracle"], rows[name]["steps"], rows[name]["samples"]) == (
            "compiled",
            "tflite-micro",
            0,
            SAMPLES,
        ), name
    assert rows["tiny.onnx"]["oracle"] == "onnxruntime" and rows["tiny.onnx"]["steps"] <= 1
    assert (rows["bytes.tflite"]["trainable"], rows["bytes.tflite"]["layers"]) == (2, 2)
    assert (rows["ends.tflite"]["trainable"], rows["ends.tflite"]["layers"]) == (1, 2)
    assert rows["bytes.tflite"]["macs"] == 45 and rows["bytes.tflite"]["arena"] > 0 and rows["bytes.tflite"]["inputs"] == ["uint8 6"]
    assert rows["unknown.tflite"]["outcome"] == "refused" and "COS" in rows["unknown.tflite"]["reasons"][0]["what"]
    assert rows["damaged.tflite"]["outcome"] == "refused" and "damaged" in rows["damaged.tflite"]["reasons"][0]["what"]
    assert found["summary"].startswith("4 of 6 files compile") and "2 are refused" in found["summary"]


def test_the_page(surveyed: Result, folder: Path) -> None:
    assert surveyed.exit_code == 0
    text = (folder.parent / "page.md").read_text()
    assert "## $KILOTUNE_DATA/models\n" in text and "| bytes.tflite | equal, tflite-micro | 2 of 2 |" in text
    assert "`unknown.tflite` is refused:" in text and str(folder.parent) not in text
    assert all(len(line) <= 100 or line.startswith("|") for line in text.splitlines())


def test_folders_that_hold_nothing(tmp_path: Path) -> None:
    for path, words in ((tmp_path, "holds no .tflite or .onnx file"), (tmp_path / "missing", "does not exist")):
        result = CliRunner().invoke(main, ["models", str(path)])
        assert result.exit_code == 3 and words in result.output


def test_other_bits_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interpreter that gives three more in one place: the largest difference is three steps, and the survey is not sound."""
    pytest.importorskip("tflite_micro")
    path = tmp_path / "bytes.tflite"
    path.write_bytes(uint8_classifier())
    load = oracles.load

    def off(*arguments: Any) -> tuple[oracles.Oracle | None, str]:
        oracle, _ = load(*arguments)
        assert oracle is not None
        return oracles.Oracle("other", lambda sample: [oracle.run(sample)[0] + np.array([[0, 3, 0]])]), ""

    monkeypatch.setattr(oracles, "load", off)
    found = one.outcome_of(path, "cortex-m4", 4, True)
    assert found.outcome == "compiled" and found.steps == 3 and bits(found) == "within 3, other"
    told = folders.Survey("cortex-m4", {"f": [found]})
    assert not told.sound and "1 differ by at most 3 steps" in told.summary() and "within 3, other" in markdown(told, "x")


def test_a_mistake_of_ours_is_no_fault_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path) -> Any:
        raise AttributeError("ours")

    monkeypatch.setattr(one, "load", broken)
    found = one.outcome_of(tmp_path / "m.tflite", "cortex-m4", 1, True)
    assert found.outcome == "failed" and found.failure.startswith("AttributeError in test_survey.py") and not found.reasons
    told = folders.Survey("cortex-m4", {"f": [found]})
    assert not told.sound and "which is a fault of kilotune" in told.summary() and "fault of kilotune" in markdown(told, "x")


def test_what_ends_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is tried once more without another interpreter; what ends it again is told."""
    path = tmp_path / "bytes.tflite"
    path.write_bytes(uint8_classifier())
    script = tmp_path / "python"
    script.write_text('#!/bin/sh\ncase "$*" in *--unchecked) echo \'{"file": "bytes.tflite", "outcome": "compiled"}\';; *) kill -9 $$;; esac\n')
    script.chmod(0o755)
    monkeypatch.setattr(folders.sys, "executable", str(script))
    assert folders._outcome(path, "cortex-m4", 1).outcome == "compiled"
    script.write_text("#!/bin/sh\nexit 7\n")
    found = folders._outcome(path, "cortex-m4", 1)
    assert found.outcome == "failed" and found.failure == "the process ended with 7"


def test_files_without_an_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bytes.tflite"
    path.write_bytes(uint8_classifier())

    def missing(name: str) -> Any:
        raise ImportError(f"no {name}")

    monkeypatch.setattr(oracles.importlib, "import_module", missing)
    found = one.outcome_of(path, "cortex-m4", 1, True)
    assert found.outcome == "compiled" and found.steps is None and bits(found) == "not compared"
    assert found.unchecked == "micro: no tflite_micro; litert: no ai_edge_litert.interpreter"


def test_outputs_are_compared_as_integers() -> None:
    data, count = oracles.with_integer_outputs(float_ended())
    assert count == 1 and len(data) == len(float_ended()) and sum(a != b for a, b in zip(data, float_ended(), strict=True)) == 1
    assert oracles.with_integer_outputs(many_ends()) == (many_ends(), 5)


def test_differences_in_steps(tmp_path: Path) -> None:
    path = tmp_path / "ends.tflite"
    path.write_bytes(uint8_classifier())
    graph = kt.load(path).graph
    ours = np.array([3, 200, 255], np.uint8)
    assert one.difference(graph, graph.outputs[0], ours, ours.reshape(1, 3)) == 0
    assert one.difference(graph, graph.outputs[0], ours, np.array([3, 201, 250], np.uint8)) == 5
    assert one.difference(graph, graph.outputs[0], ours, np.array([3, 200, 300], np.float32) / 256) == 0


def test_where_gradients_end_is_said(tmp_path: Path) -> None:
    found = one.Outcome("m.tflite", "compiled", steps=0, oracle="other", trainable=1, layers=3, untrainable="'act' (operator 2): no gradient for X")
    told = folders.Survey("cortex-m4", {"f": [found]})
    assert "`m.tflite` is trained up to 'act' (operator 2): no gradient for X" in markdown(told, "x")
    assert others(told) == ["m.tflite is trained up to 'act' (operator 2): no gradient for X"]


def test_outputs_behind_the_core_are_compared_in_front_of_what_the_caller_computes(tmp_path: Path) -> None:
    """A softmax in FLOAT32 behind the core is not ours: what it reads is compared."""
    pytest.importorskip("onnxruntime")
    model = onnx.load_model_from_string(onnx_writer.write(tiny()))
    (end,) = model.graph.output
    probabilities = onnx.helper.make_tensor_value_info("probabilities", onnx.TensorProto.FLOAT, None)
    model.graph.node.append(onnx.helper.make_node("DequantizeLinear", [end.name, *_scale_of(model, end.name)], ["logits/real"]))
    model.graph.node.append(onnx.helper.make_node("Softmax", ["logits/real"], ["probabilities"], axis=-1))
    model.graph.output[0].CopyFrom(probabilities)
    path = tmp_path / "softmax.onnx"
    path.write_bytes(model.SerializeToString())
    found = one.outcome_of(path, "cortex-m4", 8, True)
    assert found.oracle == "onnxruntime" and found.steps is not None and found.steps <= 1, found


def _scale_of(model: onnx.ModelProto, name: str) -> list[str]:
    (quantize,) = (n for n in model.graph.node if name in n.output)
    return list(quantize.input[1:])
