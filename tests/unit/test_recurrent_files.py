"""Recurrent operators in .tflite files: what is refused, and that a file is read as it was written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flatbuffers
import numpy as np
import pytest
from cases import lstm, svdf

from kiloc.errors import CompileError
from kiloc.export import tflite as writer
from kiloc.frontend import tflite as reader
from kiloc.ir.graph import Graph
from kiloc.ir.text import parse_graph, print_graph
from kiloc.ir.types import Quantization, TensorType
from kiloc.ir.verify import verify

schema = pytest.importorskip("tflite_micro.tensorflow.lite.micro.python.schema_py_generated")

LSTM = lstm.graph(5, 4, 3, (0.0078, -1), -12, 0, 0.006)
SVDF = svdf.graph("int8", 2, 8, (-128, -50, 3), 1.0)
Change = Callable[[Any, Any], None]


def file(make: Any, change: Change | None = None) -> bytes:
    """The file of a case. change: what is done to its subgraph and to its operator."""
    data = writer.write(make(np.random.default_rng(3)))
    if change is None:
        return data
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(bytearray(data), 0))
    change(model.subgraphs[0], model.subgraphs[0].operators[0])
    b = flatbuffers.Builder(1024)
    b.Finish(model.Pack(b), b"TFL3")
    return bytes(b.Output())


def load(data: bytes) -> Graph:
    return verify(reader.load(data, "case", "case.tflite"))


def without(position: int) -> Change:
    def change(graph: Any, op: Any) -> None:
        op.inputs[position] = -1

    return change


def with_input(position: int, other: int) -> Change:
    def change(graph: Any, op: Any) -> None:
        op.inputs[position] = op.inputs[other]

    return change


def with_option(name: str, value: Any) -> Change:
    def change(graph: Any, op: Any) -> None:
        setattr(op.builtinOptions, name, value)

    return change


def with_tensor(position: int, **fields: Any) -> Change:
    def change(graph: Any, op: Any) -> None:
        for name, value in fields.items():
            setattr(graph.tensors[op.inputs[position]], name, value)

    return change


def with_scale(position: int, scale: float) -> Change:
    def change(graph: Any, op: Any) -> None:
        graph.tensors[op.inputs[position]].quantization.scale = [scale]

    return change


def with_batch(graph: Any, op: Any) -> None:
    for index in (op.inputs[0], op.outputs[0]):
        graph.tensors[index].shape[0] = 2


def twice(graph: Any, op: Any) -> None:
    """Another operator on the same state."""
    import copy

    second, result = copy.deepcopy(op), copy.deepcopy(graph.tensors[op.outputs[0]])
    graph.tensors.append(result)
    second.outputs = [len(graph.tensors) - 1]
    graph.operators.append(second)


REFUSED: dict[str, tuple[Any, Change, str]] = {
    "coupled gates": (LSTM, without(1), "coupled gates"),
    "no recurrent gate": (LSTM, without(6), "input 6"),
    "peephole": (LSTM, with_input(9, 1), "peephole"),
    "projection": (LSTM, with_input(16, 5), "projection"),
    "layer normalisation": (LSTM, with_input(21, 12), "layer normalisation"),
    "no bias": (LSTM, without(13), "input 13"),
    "relu": (LSTM, with_option("fusedActivationFunction", 1), "activation 1"),
    "projection clip": (LSTM, with_option("projClip", 1.0), "projection clip"),
    "clip": (LSTM, with_option("cellClip", float("nan")), "cell clip of nan"),
    "tiny clip": (LSTM, with_option("cellClip", 1e-9), "cell clip"),
    "cell": (LSTM, with_scale(19, 0.0003), "no power of two"),
    "large cell": (LSTM, with_scale(19, 2.0), "no power of two"),
    "hidden scale": (LSTM, with_scale(18, 0.01), "another scale than the result"),
    "constant hidden": (LSTM, with_tensor(18, isVariable=False), "no variable tensor"),
    "no cell": (LSTM, without(19), "no variable tensor"),
    "lstm twice": (LSTM, twice, "another one uses it"),
    "lstm batch": (LSTM, with_batch, "batch of 1"),
    "svdf rank": (SVDF, with_option("rank", 3), "rank 3"),
    "svdf no rank": (SVDF, with_option("rank", 0), "rank 0"),
    "svdf tanh": (SVDF, with_option("fusedActivationFunction", 4), "activation 4"),
    "svdf batch": (SVDF, with_batch, "batch of 1"),
    "svdf state": (SVDF, with_tensor(4, isVariable=False), "no variable tensor"),
    "svdf twice": (SVDF, twice, "another one uses it"),
    "svdf weights": (SVDF, with_input(1, 0), "input 1 is no constant matrix"),
    "svdf time": (SVDF, with_input(2, 3), "input 2 is no constant matrix"),
    "svdf bias": (SVDF, with_input(3, 2), "INT32 bias"),
    "svdf small state": (SVDF, with_tensor(4, shape=[1, 79]), "do not give"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    make, change, what = REFUSED[name]
    with pytest.raises(CompileError, match=what):
        load(file(make, change))


@pytest.mark.parametrize("make", [LSTM, SVDF], ids=["lstm", "svdf"])
def test_a_file_reads_as_it_was_written(make: Any) -> None:
    graph = load(file(make))
    assert writer.write(graph) == writer.write(load(writer.write(graph)))
    assert parse_graph(print_graph(graph)) == graph
    assert {v.kind for v in graph.values.values()} >= {"stream"}


def test_time_major_is_the_same_rows() -> None:
    """Of one sequence: the axis of the batch lies elsewhere, the bytes do not."""

    def change(graph: Any, op: Any) -> None:
        op.builtinOptions.timeMajor = True
        for index in (op.inputs[0], op.outputs[0]):
            one, steps, width = graph.tensors[index].shape
            graph.tensors[index].shape = [steps, one, width]

    turned, plain = load(file(LSTM, change)), load(file(LSTM))
    assert [n.op for n in turned.nodes] == [n.op for n in plain.nodes]
    assert turned.type(turned.outputs[0]) == TensorType((1, 5, 1, 3), "int8", Quantization((float(np.float32(0.0078)),), -1))


def test_an_svdf_without_a_bias_has_one_of_zeros() -> None:
    graph = load(file(SVDF, without(3)))
    assert not np.any(graph.values[graph.nodes[0].inputs["bias"]].data)
