"""Small whole models of operators that meet in few files: a normalised layer, sequences, activations of int16, and mixtures of everything."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
from cases import svdf
from property.mixtures import ELSEWHERE, TABLES, Mixture, mixture
from test_recurrent_training import sequence_model
from test_wide_activations import whole, with_head

from kiloc.errors import CompileError
from kiloc.export import onnx as onnx_writer
from kiloc.export import tflite as tflite_writer
from kiloc.ir.graph import Graph
from kiloc.ir.types import activation
from kiloc.ir.verify import verify
from kiloc.ops.model.add import Add
from kiloc.ops.model.fully_connected import FullyConnected
from kiloc.ops.model.mean import Mean
from kiloc.ops.model.mul import Mul
from kiloc.ops.model.rsqrt import Rsqrt
from kiloc.ops.model.squared_difference import SquaredDifference
from kiloc.ops.model.sub import Sub

MIXTURES = 6


def normalized() -> Graph:
    """LayerNormalization as TensorFlow writes it: a mean, a variance and a root, then a layer of three classes."""
    m = Mixture(np.random.default_rng(4))
    rows, depth = 4, 8
    x = m.builder.input(activation((1, rows, depth), 0.05, -3), "x")
    narrow = (1, rows, 1)
    mean = m.node(Mean((2,)), {"x": x}, activation(narrow, 0.03, 0))
    square = m.node(SquaredDifference(), {"x": x, "other": mean}, activation((1, rows, depth), 0.2, -128))
    variance = m.node(Mean((2,)), {"x": square}, activation(narrow, 0.1, -128))
    variance = m.node(Add(), {"x": variance, "other": m.constant((1, 1, 1))}, activation(narrow, 0.1, -128))
    root = m.node(Rsqrt(), {"x": variance}, activation(narrow, 0.02, -128))
    x = m.node(Sub(), {"x": x, "other": mean}, activation((1, rows, depth), 0.06, 2))
    x = m.node(Mul(), {"x": x, "other": root}, activation((1, rows, depth), 0.03, 0))
    x = m.node(Mul(), {"x": x, "other": m.constant((1, 1, depth))}, activation((1, rows, depth), 0.04, 1))
    x = m.node(Add(), {"x": x, "other": m.constant((1, 1, depth))}, activation((1, rows, depth), 0.04, 1))
    return verify(m.builder.finish([m.layer(FullyConnected(), x, (1, rows, 3), 0, (3, depth))]))


def whole_models() -> dict[str, bytes]:
    """In both formats, where one can say it."""
    graphs = {"normalized": normalized(), "sequence": sequence_model(), "wide": whole(), "wide_with_head": with_head()}
    graphs["wide_svdf"] = svdf.graph("int16", 2, 8, (-128, 0, 3), 1.0)(np.random.default_rng(3))
    graphs |= {f"mixture_{seed}": mixture(seed, 8, tables=TABLES if seed % 2 else ELSEWHERE) for seed in range(MIXTURES)}
    found: dict[str, bytes] = {}
    for name, graph in graphs.items():
        for suffix, write in (("tflite", tflite_writer.write), ("onnx", onnx_writer.write)):
            with suppress(CompileError):  # of what this format does not hold
                found[f"{name}.{suffix}"] = write(graph)
    return found
