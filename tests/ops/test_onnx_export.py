"""Graphs as QDQ .onnx files: read back they give the same integers, and onnxruntime runs them to within a step or two."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from cases import GRAPHS as CASES
from golden.reference import image, samples, tiny
from gradients.graphs import every_operator, residual

import kilotune as kt
from kiloc import frontend, pipeline
from kiloc.errors import CompileError
from kiloc.export import onnx
from kiloc.frontend import onnx as reader
from kiloc.ir import interp
from kiloc.ir.graph import Graph
from kiloc.ops import REGISTRY
from kiloc.options import Options
from kiloc.peft import BiasOnly
from kilotune.survey.oracles import EXACT_SUMS

GRAPHS: dict[str, Callable[[], Graph]] = {f.__name__: f for f in (tiny, image, residual, every_operator)}
MODELS = ("kws_dscnn_int8", "ic_resnet8_int8", "fsdd_dscnn_int8", "gas_mlp_int8", "ecg_cnn_int8", "ad01_int8", "micro_speech_int8", "mcunet_vww_int8")


def check(graph: Graph, x: np.ndarray, path: Path, steps: int, share: float) -> None:
    """The file read back: bit for bit. onnxruntime, which rounds in float: a share within a step, none beyond `steps`."""
    path.write_bytes(onnx.write(graph))
    expected = interp.infer(graph, x)[0]
    assert np.array_equal(interp.infer(pipeline.simplify(frontend.load(path)), x)[0], expected)
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry(*EXACT_SUMS)
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    found = np.concatenate([session.run(None, {graph.inputs[0]: sample[None]})[0] for sample in x])
    distance = np.abs(found.astype(int).reshape(expected.shape) - expected)
    assert (distance <= 1).mean() >= share and distance.max() <= steps, np.bincount(distance.ravel())


@pytest.mark.parametrize("name", GRAPHS)
def test_small_graphs(name: str, tmp_path: Path) -> None:
    graph = GRAPHS[name]()
    check(graph, samples(graph, 20), tmp_path / "m.onnx", 3, 0.9)


@pytest.mark.parametrize("name", MODELS)
def test_real_models(name: str, data_dir: Path, tmp_path: Path) -> None:
    graph = kt.load(data_dir / "models" / f"{name}.tflite").graph
    rng = np.random.default_rng(1)
    x = np.clip(rng.normal(0, 40, (6, *graph.type(graph.inputs[0]).shape[1:])).round(), -128, 127).astype(np.int8)
    check(graph, x, tmp_path / "m.onnx", 40, 0.75)  # noise as input: probabilities between classes move where a logit moves by a step


NO_MODELS = {"quantize", "transpose", "concatenate", "gather", "pad_axes", "relabel", "slice"}
"""Alone they compute nothing in real numbers, and a reader says so."""


READ_ALONE = {"lstm"}
"""What is read of .onnx files, which have no scales for its inside: it is never written."""


@pytest.mark.parametrize("kind", sorted({name.partition("-")[0] for name in CASES} - NO_MODELS))
def test_operators_alone(kind: str) -> None:
    """The last operator of a model, whatever it is: written and read back to the same integers, or refused by its name."""
    name = next(n for n in CASES if n.partition("-")[0] == kind)
    rng = np.random.default_rng(1)
    graph = CASES[name](rng)
    ends = {graph.type(v).dtype for v in (*graph.inputs, *graph.outputs)}
    if any(n.op.onnx is None or n.op.mnemonic in READ_ALONE for n in graph.nodes) or not ends <= {"int8", "uint8"}:
        with pytest.raises(CompileError) as caught:
            onnx.write(graph)
        assert "training" not in caught.value.what and caught.value.hint
        return
    x = [rng.integers(-128, 128, (8, *graph.type(n).shape[1:])).astype(graph.type(n).dtype) for n in graph.inputs]
    again = pipeline.simplify(reader.load(onnx.write(graph), "again", "again.onnx"))
    assert np.array_equal(interp.infer(again, *x)[0].reshape(8, -1), interp.infer(graph, *x)[0].reshape(8, -1))


def test_what_the_format_has_no_operator_for_is_known() -> None:
    """All others of .tflite files are written, those without a binding are refused by the writer; activations of int16 all are."""
    unknown = {op.mnemonic for op in REGISTRY.values() if op.tflite and not op.onnx}
    assert {name for name in unknown if not name.startswith("wide_")} == {"neg", "sqrt", "svdf"}


def test_training_is_refused() -> None:
    c = pipeline.compile_graph(tiny(), Options(methods=(BiasOnly(),)), "0")
    with pytest.raises(CompileError, match=r"merge what was trained first|is trainable"):
        onnx.write(c.infer.graph)
