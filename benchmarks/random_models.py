"""Models drawn at random for `random_builds.py`: real ones, networks of `random_networks.py`, mixtures of the property tests, and chains.

A model is a function of a generator and of the files that are there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import random_networks
from attention_graph import Block

import kilotune as kt
from kiloc.errors import CompileError
from kiloc.frontend.build import GraphBuilder
from kiloc.ir.graph import Graph
from kiloc.ir.types import Quantization, TensorType, activation
from kiloc.ir.verify import total_macs
from kiloc.ops._window import Window, same_padding
from kiloc.ops.model.add import Add
from kiloc.ops.model.embedding import Embedding, token_codes, token_quantization
from kiloc.ops.model.mean import Mean
from kiloc.ops.model.reshape import Reshape
from kiloc.ops.model.softmax import Softmax
from kiloc.passes import with_whole_sequences
from kiloc.passes.simplify import simplify

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "ops"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from cases import TRAINED
from gradients.graphs import Maker
from property.dead_channels import with_small_multipliers
from property.mixtures import ELSEWHERE, TABLES, mixture

MOST_MACS = 30_000_000
"""Of a real model: larger ones take the interpreter minutes."""
SMALL_MULTIPLIERS = 0.3
"""Of chains and networks, those in which some channels have scales far below the others'."""
STRIDED = ((1, 1), (1, 1), (1, 1), (2, 2), (2, 1), (1, 2))
CHANNELS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 16, 17, 24, 32, 33, 40)


def real(data: Path | None) -> list[Path]:
    """Files of quantised models of the shared data, in the order of their names; none where there is no such folder."""
    if data is None:
        return []
    return sorted(
        p for name in ("models", "onnx", "zoo") for p in (data / name).glob("*") if p.suffix in (".tflite", ".onnx") and "_f32" not in p.name
    )


def drawn(rng: np.random.Generator, files: Sequence[Path]) -> tuple[str, kt.Model]:
    """What kind of model it is, and the model."""
    kind = str(rng.choice(("real", "chain", "chain", "network", "mixture", "operator", "stream", "words", "sequence")))
    if kind == "real" and files:
        path = files[int(rng.integers(len(files)))]
        model = _loaded(path)
        if model is not None:
            return path.name, model
    made = MAKERS[kind if kind in MAKERS else "chain"](rng)
    if kind in ("chain", "network") and rng.random() < SMALL_MULTIPLIERS:
        made = with_small_multipliers(made, int(rng.integers(1 << 20)), 0.2)
    return kind, kt.Model(Path(f"{made.name}.tflite"), simplify(made))


def _loaded(path: Path) -> kt.Model | None:
    """None of a model that is refused, or too large: `make models` has these."""
    try:
        model = kt.load(path)
    except CompileError:
        return None
    return model if total_macs(model.graph) <= MOST_MACS else None


# ---- Kinds ----


def chain(rng: np.random.Generator) -> Graph:
    """Convolutions with strides, dilation and windows of any form, depthwise ones with multipliers, shortcuts; then a mean or a row."""
    size = tuple(int(v) for v in rng.integers(1, 20, 2))
    m = Maker("chain", (1, *size, int(rng.choice(CHANNELS[:9]))), int(rng.integers(1 << 30)))
    y = "input"
    for i in range(int(rng.integers(1, 6))):
        _, height, width, channels = m.type(y).shape
        act = str(rng.choice(("relu", "relu", "relu6", "none")))
        window = _window(rng, height, width)
        if rng.random() < 0.35:
            multiplier = int(rng.choice((1, 1, 1, 2, 3))) if channels < 12 else 1
            y = m.depthwise(y, f"spread_{i}", multiplier, window, act)
        else:
            y = m.conv(y, f"conv_{i}", int(rng.choice(CHANNELS)), Window((1, 1)) if rng.random() < 0.3 else window, act)
        if rng.random() < 0.35:
            y = _shortcut(m, y, i, rng)
    _, height, width, channels = m.type(y).shape
    if rng.random() < 0.5:
        y = m.op(y, "mean", Mean((1, 2)), (1, channels))
    else:
        y = m.op(y, "flat", Reshape((1, height * width * channels)), (1, height * width * channels))
    if rng.random() < 0.4:
        y = m.dense(y, "hidden", int(rng.choice(CHANNELS)), "relu")
    y = m.dense(y, "logits", int(rng.integers(1, 12)))
    return m.finish(m.op(y, "probabilities", Softmax(), m.type(y).shape, 1 / 256, -128) if rng.random() < 0.3 else y)


def _window(rng: np.random.Generator, height: int, width: int) -> Window:
    kernel = tuple(int(rng.choice([k for k in (1, 2, 3, 3, 4, 5, 7) if k <= max(n, 3)])) for n in (height, width))
    stride = STRIDED[int(rng.integers(len(STRIDED)))]
    dilation = (1, 1) if stride != (1, 1) or rng.random() < 0.8 else (int(rng.integers(1, 3)), int(rng.integers(1, 3)))
    (top, bottom), (left, right) = (same_padding(n, kernel[i], stride[i], dilation[i]) for i, n in enumerate((height, width)))
    reach = tuple((kernel[i] - 1) * dilation[i] + 1 for i in range(2))
    if rng.random() < 0.25 and reach[0] <= height and reach[1] <= width:
        return Window((kernel[0], kernel[1]), stride, (0, 0, 0, 0), dilation)
    return Window((kernel[0], kernel[1]), stride, (top, left, bottom, right), dilation)


def _shortcut(m: Maker, y: str, i: int, rng: np.random.Generator) -> str:
    """A sum with a layer behind this value, or with two of which one is strided through a pointwise layer."""
    shape = m.type(y).shape
    if rng.random() < 0.6:
        pad = same_padding(shape[1], 3, 1, 1), same_padding(shape[2], 3, 1, 1)
        other = m.conv(y, f"beside_{i}", shape[3], Window((3, 3), (1, 1), (pad[0][0], pad[1][0], pad[0][1], pad[1][1])))
        return m.op(other, f"sum_{i}", Add(str(rng.choice(("relu", "none")))), shape, m.type(other).scale * 1.3, -20, other=y)
    channels = int(rng.choice(CHANNELS))
    pad = same_padding(shape[1], 3, 2, 1), same_padding(shape[2], 3, 2, 1)
    left = m.conv(y, f"down_{i}", channels, Window((3, 3), (2, 2), (pad[0][0], pad[1][0], pad[0][1], pad[1][1])))
    right = m.conv(y, f"shortcut_{i}", channels, Window((1, 1), (2, 2)))
    return m.op(left, f"join_{i}", Add(), m.type(left).shape, m.type(left).scale * 1.3, 4, other=right)


def network(rng: np.random.Generator) -> Graph:
    """One of those that kernels' costs are checked on."""
    return random_networks.network(random_networks.SEEN + int(rng.integers(1 << 20)))


def mixed(rng: np.random.Generator) -> Graph:
    """Operators of all kinds, with parts of int16 where no gradient goes."""
    return mixture(int(rng.integers(1 << 20)), int(rng.integers(3, 12)), trained=True)


def stream(rng: np.random.Generator) -> Graph:
    """Operators that keep values from call to call, and parts of int16: most can only infer."""
    return mixture(int(rng.integers(1 << 20)), int(rng.integers(3, 12)), streams=True, tables=TABLES + ELSEWHERE, wide=bool(rng.random() < 0.5))


def one_operator(rng: np.random.Generator) -> Graph:
    """A GRU, an LSTM, attention, a normalisation or another operator behind two convolutions, as the gradients are tested on."""
    m = Maker("operator", (1, 6, 5, 3), int(rng.integers(1 << 30)))
    x = m.conv("input", "first", 4, Window((3, 3), (1, 1), (1, 1, 1, 1)))
    activation, names = str(rng.choice(("none", "relu"))), [*TRAINED, "gru", "lstm", "attention", "layer_normalization"]
    name = names[int(rng.integers(len(names)))]
    alike = name in ("minimum", "maximum")  # their operands have one scale
    other = m.conv(x, "second", 4, Window((3, 3), (1, 1), (1, 1, 1, 1)), "none" if alike else activation)
    y = TRAINED[name](m, x, other)
    return with_whole_sequences(m.finish(m.dense(y, "logits", int(rng.integers(2, 9)))))


def words(rng: np.random.Generator) -> Graph:
    """Tokens that choose rows, a window of some of them, and a result for each row or for all."""
    length, depth, rows = int(rng.integers(2, 12)), int(rng.choice((4, 7, 8, 12, 16))), int(rng.choice((5, 11, 40, 129)))
    b = GraphBuilder("words", "words.tflite")
    m = Maker.__new__(Maker)
    m.b, m.rng = b, np.random.default_rng(int(rng.integers(1 << 30)))
    tokens = b.input(TensorType((1, length), "int8", token_quantization(rows)), "input")
    table = b.constant("table", m.rng.integers(-128, 128, (rows, depth)).astype(np.int8), Quantization((0.03,), 5), "table")
    y = b.node("embedding", Embedding(), {"x": tokens, "table": table}, activation((1, length, depth), 0.03, 5), "embedding")
    y = m.op(y, "image", Reshape((1, length, 1, depth)), (1, length, 1, depth))
    taps = int(rng.integers(1, 4))
    y = m.conv(y, "near", int(rng.choice((8, 12, 16))), Window((taps, 1), (1, 1), (taps - 1, 0, 0, 0)), "relu")
    if rng.random() < 0.5:
        y = m.conv(y, "each", rows, Window((1, 1)))
        return m.finish(m.op(y, "rows", Reshape((1, length, rows)), (1, length, rows)))
    return m.finish(m.dense(m.op(y, "mean", Mean((1, 2)), (1, m.type(y).shape[3])), "logits", int(rng.integers(2, 9))))


def sequence(rng: np.random.Generator) -> Graph:
    """A block of attention."""
    heads = int(rng.choice((1, 2, 4)))
    return Block(int(rng.integers(2, 40)), heads, heads * int(rng.choice((4, 6, 8, 12, 16)))).graph()


MAKERS: dict[str, Callable[[np.random.Generator], Graph]] = {
    "chain": chain,
    "network": network,
    "mixture": mixed,
    "stream": stream,
    "operator": one_operator,
    "words": words,
    "sequence": sequence,
}


def samples(model: kt.Model, rng: np.random.Generator, count: int) -> tuple[np.ndarray[Any, Any], ...]:
    """Of every input: noise, quiet and over the whole range of its type; tokens below the rows that they choose."""
    found = []
    for name in model.graph.inputs:
        t = model.graph.type(name)
        low, high = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-(2**15), 2**15 - 1)}[t.dtype]
        tokens = token_codes(model.graph, name)
        if tokens:
            found.append(rng.integers(tokens[0], tokens[1] + 1, (count, *t.shape[1:])).astype(t.dtype))
            continue
        width = np.where(rng.random(count) < 0.3, 1.0, 0.25).reshape(-1, *(1 for _ in t.shape[1:]))
        values = np.clip(rng.normal(0, 1, (count, *t.shape[1:])) * width * (high - low) / 2 + (low + high) / 2, low, high)
        found.append(np.rint(values).astype(t.dtype))
    return tuple(found)
