"""Networks of random layers, and what trains them: what the costs of kernels are counted on (`kernel_costs.py`).

No real model is among them. A network is a function of its number; those from `SEEN` on are never fitted to: estimates are checked on them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from attention_graph import Block
from random_shapes import VARIED, VARIED_KINDS

import kilotune as kt
from kiloc.ir import Graph
from kiloc.ir.types import Quantization, TensorType, activation
from kiloc.ops._lstm import Memory
from kiloc.ops._window import Window, same_padding
from kiloc.ops.model.add import Add
from kiloc.ops.model.average_pool_2d import AveragePool2D
from kiloc.ops.model.logistic import Logistic
from kiloc.ops.model.lstm import Lstm
from kiloc.ops.model.max_pool_2d import MaxPool2D
from kiloc.ops.model.mean import Mean
from kiloc.ops.model.mul import Mul
from kiloc.ops.model.reshape import Reshape
from kiloc.ops.model.softmax import Softmax
from kiloc.ops.model.squared_difference import SquaredDifference
from kiloc.ops.model.sub import Sub
from kiloc.ops.model.tanh import Tanh
from kiloc.optim import Optimizer
from kiloc.passes import with_whole_sequences
from kiloc.peft import Method, has_weights

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from gradients.graphs import Maker

KINDS_OF_NETWORKS = ("separable", "plain", "fully", "separable", "attention")
SMALL_FROM, SMALL_KINDS = 48, ("temporal", "fully", "separable", "temporal", "plain", "fully")
"""Networks from this number on are trained in their last layers alone, or by one method: memory decides otherwise between their kernels."""
RARE_FROM, RARE_KINDS = 72, ("depthwise", "windows", "long")
"""And from this one on they have what is rare above."""
SHAPES_FROM, SHAPES_KINDS = 100, ("beats", "large", "pools", "wide", "recurrent", "elements")
"""And from this one on they have the shapes of other networks: one axis, more channels, pools, wide layers, recurrence, operators by element."""
STEMS_FROM, STEMS_KINDS = 136, ("stem", "stem", "deep")
"""And from this one on they are short and trained in all layers by one method: the first layers of networks, of few channels, and layers of many."""
BEATS_FROM = 166
"""And from this one on they are convolutions along one axis, trained in the same ways."""
VARIED_FROM = 184
"""And from this one on they are of `random_shapes.py`, trained by one method or by many."""
OPERATORS_FROM = 328
"""And from this one on each has one more operator."""
SPREADS_FROM = 363
"""And from this one on they are depthwise layers of all windows over images that take most of the memory, trained in all layers by one method."""
LINES_FROM = 411
"""And from this one on depthwise layers along one axis, some of them dilated."""
SEEN = 1000
"""Networks from this one on are of all kinds, and nothing is fitted to them."""
CHANNELS = (3, 5, 8, 10, 12, 16, 17, 20, 24, 32, 33, 40, 48, 64, 96)
WIDTHS = (4, 7, 10, 16, 23, 32, 48, 64, 80, 100, 128, 192, 300, 500)


# ---- Networks ----


def network(seed: int) -> Graph:
    """Drawn by its number: convolutions (three of five), fully connected layers, attention."""
    rng = np.random.default_rng([19, seed])
    kinds = KINDS_OF_NETWORKS if seed < SMALL_FROM else SMALL_KINDS if seed < RARE_FROM else RARE_KINDS if seed < SHAPES_FROM else SHAPES_KINDS
    kinds = kinds if seed < STEMS_FROM else STEMS_KINDS if seed < BEATS_FROM else ("beats",) if seed < VARIED_FROM else VARIED_KINDS
    kinds = kinds if seed < OPERATORS_FROM else ("operated",) if seed < SPREADS_FROM else ("spreads",) if seed < LINES_FROM else ("lines",)
    if seed >= SEEN:
        kinds = tuple(dict.fromkeys((*SHAPES_KINDS, *STEMS_KINDS, *KINDS_OF_NETWORKS, *SMALL_KINDS, *RARE_KINDS, *VARIED_KINDS)))
    kind = kinds[seed % len(kinds)]
    if kind in VARIED:
        return VARIED[kind](seed, rng)
    if kind in SHAPES:
        return SHAPES[kind](Maker(f"random_{seed}", _input(kind, rng), seed), rng)
    if kind == "attention":
        heads = int(rng.choice((1, 2, 4)))
        return Block(int(rng.integers(6, 40)), heads, heads * int(rng.choice((4, 8, 12, 16)))).graph()
    if kind == "long":
        m = Maker(f"random_{seed}", (1, int(rng.integers(200, 1000))), seed)
        return _head(m, m.dense("input", "first", int(rng.choice((12, 31, 64, 100, 200))), "relu"), rng)
    if kind in ("depthwise", "windows"):
        return _rare(seed, kind, rng)
    if kind == "temporal":
        return _signal(seed, rng)
    if kind == "fully":
        m = Maker(f"random_{seed}", (1, int(rng.choice(WIDTHS))), seed)
        y = "input"
        for i in range(int(rng.integers(2, 6))):
            y = m.dense(y, f"layer_{i}", int(rng.choice(WIDTHS[:-1])), "relu" if rng.random() < 0.8 else "none")
        return _head(m, y, rng)
    return _image(seed, kind, rng)


def _signal(seed: int, rng: np.random.Generator) -> Graph:
    """Convolutions along one axis, of few channels."""
    length = int(rng.integers(16, 100))
    m = Maker(f"random_{seed}", (1, length, 1, int(rng.choice((1, 2, 3, 6)))), seed)
    y = "input"
    for i in range(int(rng.integers(2, 5))):
        length = m.type(y).shape[1]
        kernel, stride = int(rng.choice((3, 4, 5, 7))), int(rng.choice((1, 2)))
        before, after = same_padding(length, kernel, stride, 1)
        window = Window((kernel, 1), (stride, 1), (before, 0, after, 0))
        if i and rng.random() < 0.5:
            y = m.depthwise(y, f"spread_{i}", 1, window, "relu")
            y = m.conv(y, f"point_{i}", int(rng.choice((6, 8, 12, 16, 18, 24, 32))), Window((1, 1)), "relu")
        else:
            y = m.conv(y, f"conv_{i}", int(rng.choice((4, 6, 8, 12, 16, 18, 24))), window, "relu")
    if rng.random() < 0.6:
        y = m.op(y, "mean", Mean((1, 2)), (1, m.type(y).shape[3]))
    return _head(m, y, rng)


def _rare(seed: int, kind: str, rng: np.random.Generator) -> Graph:
    """Depthwise layers one behind the other, or windows that are no squares."""
    size = tuple(int(v) for v in rng.integers(6, 20, 2))
    m = Maker(f"random_{seed}", (1, *size, int(rng.choice((1, 2, 4, 8)))), seed)
    y = "input"
    for i in range(3):
        _, *now, _ = m.type(y).shape
        kernel, stride = (int(rng.choice((1, 2, 3, 4, 5, 8))), int(rng.choice((1, 3, 4)))), int(rng.choice((1, 1, 2)))
        if kind == "depthwise" and i:
            y = m.depthwise(y, f"spread_{i}", 1, _window(rng, tuple(now), (3, 3, 3, 5)), "relu" if rng.random() < 0.6 else "none")
            continue
        (top, bottom), (left, right) = (same_padding(now[j], kernel[j], stride, 1) for j in (0, 1))
        window = Window(kernel, (stride, stride), (top, left, bottom, right))
        y = m.conv(y, f"conv_{i}", int(rng.choice((6, 8, 12, 16, 24, 32))), window, "relu" if rng.random() < 0.8 else "none")
    return _head(m, y, rng)


def _image(seed: int, kind: str, rng: np.random.Generator) -> Graph:
    size = tuple(int(v) for v in rng.integers(6, 17, 2))
    m = Maker(f"random_{seed}", (1, *size, int(rng.choice((1, 2, 3, 8)))), seed)
    y = m.conv("input", "stem", int(rng.choice(CHANNELS[2:9])), _window(rng, size, (3, 5)), "relu")
    for i in range(int(rng.integers(3, 6))):
        _, *now, channels = m.type(y).shape
        wanted = int(rng.choice(CHANNELS[1:])) if now[0] * now[1] < 60 else int(rng.choice(CHANNELS[1:9]))
        act = "relu" if rng.random() < 0.85 else "none"
        if kind == "separable":
            y = m.depthwise(y, f"spread_{i}", 1 if rng.random() < 0.9 else 2, _window(rng, tuple(now), (3, 3, 3, 5)), "relu")
            y = m.conv(y, f"point_{i}", wanted, Window((1, 1)), act)
        else:
            y = m.conv(y, f"conv_{i}", wanted, _window(rng, tuple(now), (3, 3, 1)), act)
            if rng.random() < 0.5:
                shape = m.type(y).shape
                z = m.conv(y, f"again_{i}", shape[3], _window(rng, (shape[1], shape[2]), (3,), 1))
                y = m.op(z, f"sum_{i}", Add("relu"), shape, m.type(z).scale * 1.3, -128, other=y)
        _, height, width, channels = m.type(y).shape
        if rng.random() < 0.2 and min(height, width) >= 4:
            window = Window((2, 2), (2, 2))
            op = MaxPool2D(window) if rng.random() < 0.6 else AveragePool2D(window)
            y = m.op(y, f"pool_{i}", op, (1, *window.output(height, width), channels))
    if rng.random() < 0.7:
        y = m.op(y, "mean", Mean((1, 2)), (1, m.type(y).shape[3]))
    return _head(m, y, rng)


# ---- Other shapes ----


def _input(kind: str, rng: np.random.Generator) -> tuple[int, ...]:
    """Shape of the input."""
    if kind == "large":
        return (1, int(rng.integers(10, 50)), int(rng.choice((1, 5, 10, 16))), int(rng.choice((1, 3, 8))))
    if kind == "wide":
        return (1, int(rng.integers(100, 900)))
    if kind == "deep":
        return (1, int(rng.integers(5, 12)), int(rng.integers(5, 12)), int(rng.choice((8, 16, 32))))
    if kind == "stem":
        return (1, int(rng.integers(20, 80)), int(rng.choice((1, 1, 10, 20))), int(rng.choice((1, 1, 2, 3))))
    if kind == "lines":
        return 1, *(1, int(rng.integers(24, 200)))[:: int(rng.choice((1, -1)))], int(rng.choice((2, 4, 8)))
    if kind == "spreads":
        return (1, int(rng.integers(10, 42)), int(rng.integers(10, 42)), int(rng.choice((1, 3, 8))))
    if kind in ("recurrent", "elements"):
        return (1, int(rng.integers(4, 24)), *((1,) if kind == "elements" else ()), int(rng.choice((4, 7, 12, 16, 28))))
    return (1, int(rng.integers(32, 130)), int(rng.choice((1, 1, 3))), int(rng.choice((1, 1, 2, 4))))


def _along(size: int, kernel: int, stride: int, other: int = 1, across: int = 1) -> Window:
    """A window along the first axis, as wide as `across` of `other` values of the second."""
    before, after = same_padding(size, kernel, stride, 1)
    left, right = same_padding(other, across, 1, 1)
    return Window((kernel, across), (stride, 1), (before, left, after, right))


def _beats(m: Maker, rng: np.random.Generator) -> Graph:
    """Convolutions along one axis, then separable ones: of few channels at the beginning."""
    window = _along(m.type("input").shape[1], int(rng.integers(4, 12)), int(rng.choice((1, 2, 3, 4))))
    y = m.conv("input", "stem", int(rng.choice((4, 6, 8, 8, 12, 16))), window, "relu")
    for i in range(int(rng.integers(1, 4))):
        window = _along(m.type(y).shape[1], int(rng.choice((3, 4, 5, 7, 10))), int(rng.choice((1, 2))))
        y = m.depthwise(y, f"spread_{i}", 1, window, "relu" if rng.random() < 0.7 else "none")
        y = m.conv(y, f"point_{i}", int(rng.choice((6, 8, 12, 16, 24, 32, 48))), Window((1, 1)), "relu")
    return _head(m, m.op(y, "mean", Mean((1, 2)), (1, m.type(y).shape[3])), rng)


def _large(m: Maker, rng: np.random.Generator) -> Graph:
    """More channels, and more positions."""
    _, height, width, _ = m.type("input").shape
    stem = _along(height, int(rng.choice((3, 4, 8, 10))), int(rng.choice((2, 2, 3))), width, min(width, int(rng.choice((1, 3, 4, 8)))))
    y = m.conv("input", "stem", int(rng.choice((16, 32, 40, 64, 96))), stem, "relu")
    for i in range(int(rng.integers(1, 3))):
        _, height, width, _ = m.type(y).shape
        if rng.random() < 0.65:
            window = _along(height, int(rng.choice((3, 3, 5, 9))), 1, width, min(width, 3))
            y = m.depthwise(y, f"spread_{i}", 1, window, "relu" if rng.random() < 0.6 else "none")
            y = m.conv(y, f"point_{i}", int(rng.choice((32, 48, 64, 64, 96, 128))), Window((1, 1)), "relu" if rng.random() < 0.8 else "none")
        else:
            window = _along(height, 3, int(rng.choice((1, 2))), width, min(width, 3))
            y = m.conv(y, f"conv_{i}", int(rng.choice((16, 32, 64))), window, "relu" if rng.random() < 0.6 else "none")
    if rng.random() < 0.3:
        y = m.depthwise(y, "last", 1, Window(m.type(y).shape[1:3]), "none")
    return _head(m, m.op(y, "mean", Mean((1, 2)), (1, m.type(y).shape[3])), rng)


def _stem(m: Maker, rng: np.random.Generator) -> Graph:
    """One convolution of the input, and often a depthwise one behind it."""
    _, height, width, _ = m.type("input").shape
    stride = int(rng.choice((1, 2, 2, 3)))
    window = _along(height, int(rng.integers(3, 12)), stride, width, min(width, int(rng.choice((1, 3, 5, 8)))))
    y = m.conv("input", "stem", int(rng.choice((3, 4, 8, 8, 12, 16))), window, "relu" if rng.random() < 0.7 else "none")
    if rng.random() < 0.6:
        _, height, width, _ = m.type(y).shape
        window = _along(height, int(rng.choice((3, 5, 7, 10))), int(rng.choice((1, 2))), width, min(width, 3))
        y = m.depthwise(y, "spread", 1, window, "relu" if rng.random() < 0.6 else "none")
    return _head(m, m.op(y, "mean", Mean((1, 2)), (1, m.type(y).shape[3])), rng)


def _spreads(m: Maker, rng: np.random.Generator) -> Graph:
    """Two or three depthwise layers behind a pointwise one, with any number of channels."""
    channels = int(rng.choice((2, 3, 5, 8, 9, 12, 16, 17, 24, 32)))
    y = m.conv("input", "front", channels, Window((1, 1)), "relu")
    for i in range(int(rng.integers(2, 4))):
        _, *now, _ = m.type(y).shape
        window = _window(rng, tuple(now), (3, 3, 5, 5, 7, 4), int(rng.choice((1, 1, 2))))
        y = m.depthwise(y, f"spread_{i}", 1, window, "relu" if rng.random() < 0.6 else "none")
    return _head(m, m.op(y, "mean", Mean((1, 2)), (1, m.type(y).shape[3])), rng)


def _lines(m: Maker, rng: np.random.Generator) -> Graph:
    """Two or three depthwise layers along one axis, often dilated or causal, behind a pointwise one."""
    y = m.conv("input", "front", int(rng.choice((3, 4, 8, 12, 16, 17, 24, 32, 40))), Window((1, 1)), "relu")
    for i in range(int(rng.integers(2, 4))):
        height, width = m.type(y).shape[1:3]
        taps, dilation, stride = int(rng.choice((2, 3, 3, 4, 5, 7, 9, 13))), int(rng.choice((1, 1, 2, 4))), int(rng.choice((1, 1, 2)))
        stride = stride if dilation == 1 else 1
        before, after = same_padding(max(height, width), taps, stride, dilation)
        before, after = (before + after, 0) if rng.random() < 0.3 else (before, after)
        window = Window((taps, 1), (stride, 1), (before, 0, after, 0), (dilation, 1))
        if width > 1:
            window = Window((1, taps), (1, stride), (0, before, 0, after), (1, dilation))
        y = m.depthwise(y, f"line_{i}", 1, window, "relu" if rng.random() < 0.6 else "none")
    return _head(m, m.op(y, "mean", Mean((1, 2)), (1, m.type(y).shape[3])), rng)


def _deep(m: Maker, rng: np.random.Generator) -> Graph:
    """Two 3x3 convolutions of more channels, and a pointwise one."""
    y = "input"
    for i in range(2):
        _, height, width, _ = m.type(y).shape
        window = _along(height, 3, int(rng.choice((1, 1, 2))), width, 3)
        y = m.conv(y, f"conv_{i}", int(rng.choice((16, 32, 48, 64))), window, "relu" if rng.random() < 0.7 else "none")
    y = m.conv(y, "point", int(rng.choice((32, 64, 96))), Window((1, 1)), "relu" if rng.random() < 0.7 else "none")
    return _head(m, m.op(y, "mean", Mean((1, 2)), (1, m.type(y).shape[3])), rng)


def _pools(m: Maker, rng: np.random.Generator) -> Graph:
    """Pools of several windows between convolutions along one axis."""
    y = "input"
    for i in range(2):
        _, length, width, _ = m.type(y).shape
        window = _along(length, int(rng.choice((3, 4, 5))), 1, width, min(width, int(rng.choice((1, 3)))))
        y = m.conv(y, f"conv_{i}", int(rng.choice((4, 8, 8, 12, 16))), window, "relu" if rng.random() < 0.8 else "none")
        _, length, width, channels = m.type(y).shape
        size = (int(rng.choice((2, 3, 3, 4))), min(width, int(rng.choice((1, 3)))))
        window = Window(size, size if rng.random() < 0.8 else (1, 1))
        pool = MaxPool2D(window) if rng.random() < 0.7 else AveragePool2D(window)
        y = m.op(y, f"pool_{i}", pool, (1, *window.output(length, width), channels))
    return _head(m, y, rng)


def _wide(m: Maker, rng: np.random.Generator) -> Graph:
    """Fully connected layers with many inputs."""
    y = m.dense("input", "first", int(rng.choice((30, 64, 100, 200, 300))), "relu" if rng.random() < 0.6 else "none")
    y = m.dense(y, "second", int(rng.choice((16, 40, 100))), "relu" if rng.random() < 0.6 else "none")
    return _head(m, y, rng)


def _recurrent(m: Maker, rng: np.random.Generator) -> Graph:
    """An LSTM over the rows of a sequence."""
    _, steps, depth = m.type("input").shape
    units = int(rng.choice((4, 7, 12, 16, 20, 32)))
    y = activation((1, steps, units), 1 / 128, 0)

    def weights(name: str, columns: int) -> str:
        scales = np.repeat(0.9 * 1.7 / 127 / columns**0.5 * 2.0 ** rng.uniform(-1, 0.5, 4), units).astype(np.float32)
        codes = rng.integers(-127, 128, (4 * units, columns)).astype(np.int8)
        return m.b.constant(f"lstm.{name}", codes, Quantization(tuple(scales.tolist()), 0, 0), "lstm")

    parts = {"weights": weights("weights", depth), "recurrent": weights("recurrent", units)}
    parts["bias"] = m.b.constant("lstm.bias", rng.integers(-900, 900, 4 * units).astype(np.int32), None, "lstm")
    parts["hidden"] = m.b.stream("lstm.hidden", TensorType((1, units), "int8", y.quantization), np.zeros((1, units), np.int8), "hidden")
    cell = TensorType((1, units), "int16", Quantization((2.0**-12,)))
    parts["cell"] = m.b.stream("lstm.cell", cell, np.zeros((1, units), np.int16), "cell")
    y = m.b.node("lstm", Lstm(Memory()), {"x": "input", **parts}, y, "lstm")
    return with_whole_sequences(_head(m, m.op(y, "flat", Reshape((1, steps * units)), (1, steps * units)), rng))


def _elements(m: Maker, rng: np.random.Generator) -> Graph:
    """Operators by element, with an operand of the same shape and with one of a value a row, as normalisation is often written."""
    y = m.conv("input", "front", int(rng.choice((8, 12, 16, 32))), Window((1, 1)))
    for i in range(2):
        shape = m.type(y).shape
        rows = (*shape[:3], 1)
        mean = m.op(m.op(y, f"mean_{i}", Mean((3,)), shape[:3]), f"column_{i}", Reshape(rows), rows)
        centred = m.op(y, f"centred_{i}", Sub(), shape, 0.03, 0, other=mean)
        far = m.op(y, f"far_{i}", SquaredDifference(), shape, 0.02, -128, other=mean)
        spread = m.op(m.op(far, f"spread_{i}", Mean((3,)), shape[:3]), f"narrow_{i}", Reshape(rows), rows)
        y = m.op(centred, f"gated_{i}", Mul(), shape, 0.03, 0, other=m.op(spread, f"gate_{i}", Tanh(), rows, 1 / 128, 0))
        y = m.op(y, f"product_{i}", Mul(), shape, 0.03, 0, other=m.op(y, f"table_{i}", Logistic(), shape, 1 / 256, -128))
        y = m.conv(y, f"layer_{i}", int(rng.choice((8, 10, 16, 24))), Window((1, 1)), "relu" if i else "none")
    return _head(m, m.op(y, "mean", Mean((1, 2)), (1, m.type(y).shape[3])), rng)


SHAPES: dict[str, Callable[[Maker, np.random.Generator], Graph]] = {
    "beats": _beats,
    "large": _large,
    "stem": _stem,
    "deep": _deep,
    "spreads": _spreads,
    "lines": _lines,
    "pools": _pools,
    "wide": _wide,
    "recurrent": _recurrent,
    "elements": _elements,
}


def _window(rng: np.random.Generator, size: tuple[int, ...], kernels: Sequence[int], stride: int = 0) -> Window:
    kernel = (int(rng.choice(kernels)),) * 2
    step = stride or int(rng.choice((1, 1, 1, 2)))
    (top, bottom), (left, right) = (same_padding(size[i], kernel[i], step, 1) for i in (0, 1))
    return Window(kernel, (step, step), (top, left, bottom, right))


def _head(m: Maker, y: str, rng: np.random.Generator) -> Graph:
    y = m.dense(y, "logits", int(rng.integers(2, 14)))
    return m.finish(m.op(y, "probabilities", Softmax(), m.type(y).shape, 1 / 256, -128) if rng.random() < 0.5 else y)


# ---- How they are trained ----


def trained(graph: Graph, seed: int) -> tuple[list[Method], Optimizer, int]:
    """Methods, each layer's by itself, an optimizer, and samples an update."""
    rng = np.random.default_rng([20, seed])
    makers: dict[str, tuple[type[Method], str]] = {
        "bias": (kt.BiasOnly, ""),
        "lora": (kt.LoRA, "rank"),
        "scale": (kt.ScaleShift, ""),
        "full": (kt.Full, ""),
        "sparse": (kt.SparseUpdate, ""),
        "adapter": (kt.BottleneckAdapter, "width"),
    }
    if RARE_FROM <= seed < SHAPES_FROM and seed % len(RARE_KINDS) == RARE_KINDS.index("depthwise"):
        return [[kt.Full()], [kt.SparseUpdate()], [kt.ScaleShift()], [kt.BiasOnly()]][seed % 4], kt.SGD(), 1
    if SPREADS_FROM <= seed < SEEN:
        return [[kt.BiasOnly()], [kt.ScaleShift()], [kt.Full()], [kt.SparseUpdate()]][seed % 4], kt.SGD(), 1
    if STEMS_FROM <= seed < VARIED_FROM:
        rank = int(rng.choice((1, 2, 4, 5, 7, 8)))
        if seed >= BEATS_FROM and kt.LoRA.sizes:
            rank = min(rank, *(kt.LoRA.sizes.largest(graph, node) for node in kt.LoRA.fitting(graph)))
        ways: list[list[Method]] = [[kt.LoRA(rank=rank)], [kt.Full()], [kt.SparseUpdate()], [kt.ScaleShift()], [kt.BiasOnly(), kt.LoRA(rank=rank)]]
        return ways[seed % (3 if seed >= BEATS_FROM else len(ways))], kt.SGD(), 1
    if seed >= VARIED_FROM and seed // len(VARIED_KINDS) % 3:
        return _few(rng, graph), kt.SGD(), 1
    if seed >= SMALL_FROM and (seed < SHAPES_FROM or seed // len(SHAPES_KINDS) % 2):
        return _few(rng), kt.SGD(), 1
    fitting = {name: {n.name for n in method.fitting(graph)} for name, (method, _) in makers.items()}
    layers: dict[tuple[str, int], list[str]] = {}
    for node in graph.phase("forward"):
        if has_weights(node):
            choice = str(rng.choice(("bias", "bias", "lora", "lora", "lora", "bias+lora", "scale", "full", "sparse", "bias+adapter", "")))
            for name in choice.split("+"):
                size = {"lora": int(rng.choice((1, 2, 3, 4, 4, 5, 6, 7, 8, 8, 9))), "adapter": int(rng.choice((4, 8)))}.get(name, 0)
                if name and node.name in fitting[name]:
                    sizes = makers[name][0].sizes
                    size = min(size, sizes.largest(graph, node)) if sizes else 0
                    layers.setdefault((name, size), []).append(node.name)
    methods = [makers[name][0](layers=tuple(on), **({makers[name][1]: size} if makers[name][1] else {})) for (name, size), on in layers.items()]
    optimizer: Optimizer = (kt.SGD(), kt.SGD(), kt.SGD(), kt.Adam(), kt.SGD(momentum=0.9), kt.Lion())[int(rng.integers(0, 6))]
    return methods or [kt.BiasOnly()], optimizer, 1 if rng.random() < 0.8 else 4


def _few(rng: np.random.Generator, graph: Graph | None = None) -> list[Method]:
    """One method, or two. graph: whose layers take the rank."""
    last = str(rng.choice(("all", "last:1", "last:2", "last:3", "last:4")))
    rank = int(rng.choice((1, 2, 3, 4, 4, 6, 8, 9)))
    if graph is not None and kt.LoRA.sizes:
        rank = min(rank, *(kt.LoRA.sizes.largest(graph, node) for node in kt.LoRA.fitting(graph)), 16)
    ways: list[list[Method]] = [
        [kt.BiasOnly(layers=last)],
        [kt.Head()],
        [kt.LoRA(rank=rank, layers=last)],
        [kt.LoRA(rank=rank, layers=last)],
        [kt.BiasOnly(), kt.LoRA(rank=rank, layers=last)],
        [kt.ScaleShift(layers=last)],
        [kt.Full(layers=last)],
        [kt.SparseUpdate(layers=last)],
        [kt.BiasOnly(), kt.BottleneckAdapter(width=4, layers=last)],
    ]
    return ways[int(rng.integers(len(ways)))]
