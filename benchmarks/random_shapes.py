"""Networks of random layers in the shapes that sensors, speech and small images have: part of `random_networks.py`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from attention_graph import Block

from kiloc.ir import Graph
from kiloc.ir.types import Quantization
from kiloc.ops._lstm import GATE_SCALE
from kiloc.ops._window import Window, same_padding
from kiloc.ops.model.add import Add
from kiloc.ops.model.average_pool_2d import AveragePool2D
from kiloc.ops.model.gru import Gru
from kiloc.ops.model.max_pool_2d import MaxPool2D
from kiloc.ops.model.mean import Mean
from kiloc.ops.model.reshape import Reshape

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "ops"))
from cases import TRAINED
from gradients.graphs import Maker

Random = np.random.Generator


def head(m: Maker, y: str, rng: Random) -> Graph:
    """A layer of classes, mostly behind a mean over positions."""
    if len(m.type(y).shape) == 4 and rng.random() < 0.5:
        y = m.op(y, "mean", Mean((1, 2)), (1, m.type(y).shape[3]))
    return m.finish(m.dense(y, "logits", int(rng.integers(2, 14))))


def covering(m: Maker, y: str, kernel: tuple[int, int], stride: tuple[int, int], padded: bool) -> Window:
    """A window over this value, with a border where it is padded and none where it is not; no larger than the value then."""
    _, *size, _ = m.type(y).shape
    if not padded:
        return Window((min(kernel[0], size[0]), min(kernel[1], size[1])), stride)
    (top, bottom), (left, right) = (same_padding(size[i], kernel[i], stride[i], 1) for i in (0, 1))
    return Window(kernel, stride, (top, left, bottom, right))


def spoken(seed: int, rng: Random) -> Graph:
    """A large window of a spectrum of one channel, whose every channel is of its own or of all, in front of a fully connected layer."""
    m = Maker(f"random_{seed}", (1, int(rng.integers(16, 56)), int(rng.choice((10, 16, 24, 40))), int(rng.choice((1, 1, 1, 2)))), seed)
    kernel, stride = (int(rng.integers(4, 12)), int(rng.integers(3, 11))), int(rng.choice((1, 2, 2, 3)))
    window = covering(m, "input", kernel, (stride, stride), rng.random() < 0.7)
    if rng.random() < 0.7:
        y = m.depthwise("input", "bands", int(rng.choice((2, 4, 6, 8, 8, 12))), window, "relu" if rng.random() < 0.8 else "none")
    else:
        y = m.conv("input", "bands", int(rng.choice((4, 8, 12, 16))), window, "relu")
    if rng.random() < 0.3:
        y = m.dense(y, "middle", int(rng.choice((16, 24, 40))), "relu")
    return head(m, y, rng) if rng.random() < 0.3 else m.finish(m.dense(y, "logits", int(rng.integers(2, 14))))


def streamed(seed: int, rng: Random) -> Graph:
    """Separable convolutions along time, of windows of one column, with or without a border."""
    m = Maker(f"random_{seed}", (1, int(rng.integers(24, 120)), 1, int(rng.choice((1, 2, 4, 12, 20, 40)))), seed)
    padded = bool(rng.random() < 0.5)
    first = int(rng.choice((8, 16, 24, 32, 48)))
    y = m.conv("input", "stem", first, covering(m, "input", (int(rng.integers(3, 9)), 1), (int(rng.choice((1, 2, 3))), 1), padded), "relu")
    for i in range(int(rng.integers(1, 4))):
        window = covering(m, y, (int(rng.integers(3, 16)), 1), (int(rng.choice((1, 1, 1, 2))), 1), padded)
        y = m.depthwise(y, f"spread_{i}", 1, window, "relu" if rng.random() < 0.4 else "none")
        y = m.conv(y, f"point_{i}", int(rng.choice((16, 24, 32, 48, 64))), Window((1, 1)), "relu" if rng.random() < 0.8 else "none")
    return head(m, y, rng)


def moved(seed: int, rng: Random) -> Graph:
    """Convolutions and pools over a few axes of a sensor, in front of fully connected layers."""
    m = Maker(f"random_{seed}", (1, int(rng.integers(30, 130)), int(rng.choice((3, 3, 4, 6))), 1), seed)
    y = "input"
    for i in range(2):
        _, length, width, _ = m.type(y).shape
        kernel = (int(rng.integers(3, 7)), int(rng.integers(1, 4)))
        y = m.conv(y, f"conv_{i}", int(rng.choice((8, 12, 16, 20))), covering(m, y, kernel, (1, 1), rng.random() < 0.7), "relu")
        _, length, width, channels = m.type(y).shape
        size = (int(rng.choice((2, 3))), min(width, int(rng.choice((1, 3)))))
        pool = (MaxPool2D if rng.random() < 0.7 else AveragePool2D)(Window(size, size))
        y = m.op(y, f"pool_{i}", pool, (1, *pool.window.output(length, width), channels))
    return m.finish(m.dense(m.dense(y, "middle", int(rng.choice((12, 16, 24))), "relu"), "logits", int(rng.integers(2, 14))))


def connected(seed: int, rng: Random) -> Graph:
    """Large fully connected layers."""
    m = Maker(f"random_{seed}", (1, int(rng.integers(60, 900))), seed)
    y = m.dense("input", "first", int(rng.choice((50, 96, 128, 200, 256))), "relu" if rng.random() < 0.8 else "none")
    for i in range(int(rng.integers(1, 3))):
        y = m.dense(y, f"middle_{i}", int(rng.choice((20, 32, 64, 90, 128))), "relu" if rng.random() < 0.8 else "none")
    return head(m, y, rng)


def added(seed: int, rng: Random) -> Graph:
    """Residual blocks, every other with half the rows and a pointwise shortcut."""
    size, channels = int(rng.integers(8, 21)), int(rng.choice((8, 12, 16, 24)))
    m = Maker(f"random_{seed}", (1, size, size, int(rng.choice((1, 3, 3)))), seed)
    y = m.conv("input", "stem", channels, covering(m, "input", (3, 3), (1, 1), True), "relu")
    for i in range(int(rng.integers(1, 3))):
        stride = 1 if i == 0 and rng.random() < 0.5 else 2
        channels = channels if stride == 1 else int(rng.choice((16, 24, 32, 48, 64)))
        z = m.conv(y, f"first_{i}", channels, covering(m, y, (3, 3), (stride, stride), True), "relu")
        z = m.conv(z, f"second_{i}", channels, covering(m, z, (3, 3), (1, 1), True))
        y = y if stride == 1 else m.conv(y, f"short_{i}", channels, Window((1, 1), (2, 2)))
        y = m.op(z, f"sum_{i}", Add("relu"), m.type(z).shape, m.type(z).scale * 1.3, -128, other=y)
    return head(m, y, rng)


def gated(seed: int, rng: Random) -> Graph:
    """A GRU over a sequence."""
    steps, depth, units = int(rng.integers(4, 24)), int(rng.choice((3, 8, 12, 20, 32))), int(rng.choice((4, 8, 12, 16, 24)))
    m, constants = Maker(f"random_{seed}", (1, steps, depth), seed), dict[str, str]()
    for operand, width in (("weights", depth), ("recurrent", units)):
        scales = np.repeat(1.7 / 127 / width**0.5 * 2.0 ** rng.uniform(-1, 0.5, 3), units).astype(np.float32)
        codes = rng.integers(-127, 128, (3 * units, width)).astype(np.int8)
        constants[operand] = m.b.constant(f"gru.{operand}", codes, Quantization(tuple(scales.tolist()), 0, 0), "gru")
    constants["bias"] = m.b.constant("gru.bias", rng.integers(-900, 900, 3 * units).astype(np.int32), None, "gru")
    inner = (rng.uniform(-0.5, 0.5, units) / GATE_SCALE).astype(np.int32)
    constants["inner"] = m.b.constant("gru.inner", inner, Quantization((GATE_SCALE,)), "gru")
    y = m.op("input", "gru", Gru(), (1, steps, units), 1 / 128, 0, **constants)
    return head(m, m.op(y, "flat", Reshape((1, steps * units)), (1, steps * units)), rng)


def attended(seed: int, rng: Random) -> Graph:
    """Attention of few positions and many channels, whose gradient has room to be made in one pass."""
    heads = int(rng.choice((1, 2, 4)))
    return Block(int(rng.integers(4, 14)), heads, heads * int(rng.choice((12, 16, 24)))).graph()


def operated(seed: int, rng: Random) -> Graph:
    """One of the operators that are trained through, between convolutions and a layer."""
    names = sorted(TRAINED)
    m = Maker(f"random_{seed}", (1, 6, 5, 2), seed)
    x, other = (m.conv("input", branch, 4, Window((3, 3), (1, 1), (1, 1, 1, 1))) for branch in ("left", "right"))
    return m.finish(m.dense(TRAINED[names[seed % len(names)]](m, x, other), "logits", int(rng.integers(2, 14))))


VARIED: dict[str, Callable[[int, Random], Graph]] = {
    "spoken": spoken,
    "streamed": streamed,
    "added": added,
    "connected": connected,
    "moved": moved,
    "gated": gated,
    "attended": attended,
    "operated": operated,
}
VARIED_KINDS = ("streamed", "spoken", "added", "connected", "streamed", "moved", "spoken", "gated", "connected", "attended", "added", "streamed")
"""Kinds of networks, those with more sorts of shapes more often."""
