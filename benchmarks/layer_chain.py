"""A model of any number of layers, with weights drawn at random: how long it takes to build does not depend on them."""

from __future__ import annotations

import numpy as np

from kiloc.frontend.build import GraphBuilder
from kiloc.ir.graph import Graph
from kiloc.ir.types import Quantization, activation
from kiloc.ir.verify import verify
from kiloc.ops._window import Window
from kiloc.ops.model.conv_2d import Conv2D
from kiloc.ops.model.depthwise_conv_2d import DepthwiseConv2D
from kiloc.ops.model.fully_connected import FullyConnected
from kiloc.ops.model.mean import Mean

SIZE, CHANNELS, CLASSES = 12, 16, 4
UNIT = 1 / 32
"""Scale of the activations."""


def layer_chain(layers: int) -> Graph:
    """Depthwise and pointwise convolutions by turns over an image, and a layer on the mean over positions, the last of so many."""
    rng, b = np.random.default_rng(0), GraphBuilder(f"chain_{layers}", f"chain_{layers}.tflite")
    image = activation((1, SIZE, SIZE, CHANNELS), UNIT, -128)

    def constants(name: str, shape: tuple[int, ...], axis: int) -> dict[str, str]:
        codes, channels = rng.integers(-127, 128, shape).astype(np.int8), shape[axis]
        scale = float(np.float32(1.7 / 127 / (codes.size / channels) ** 0.5))
        weights = b.constant(f"{name}.weights", codes, Quantization((scale,) * channels, 0, axis), name)
        return {"weights": weights, "bias": b.constant(f"{name}.bias", np.zeros(channels, np.int32), None, name)}

    y = b.input(image, "input")
    for i in range(layers - 1):
        name, around = f"layer_{i}", Window((3, 3), (1, 1), (1, 1, 1, 1))
        if i % 2:
            op, shape = Conv2D(activation="relu", window=Window((1, 1))), (CHANNELS, 1, 1, CHANNELS)
            y = b.node(name, op, {"x": y, **constants(name, shape, 0)}, image, name)
        else:
            y = b.node(name, DepthwiseConv2D(window=around, activation="relu"), {"x": y, **constants(name, (1, 3, 3, CHANNELS), 3)}, image, name)
    y = b.node("mean", Mean((1, 2)), {"x": y}, activation((1, CHANNELS), UNIT, -128), "mean")
    last = {"x": y, **constants("logits", (CLASSES, CHANNELS), 0)}
    return verify(b.finish([b.node("logits", FullyConnected(), last, activation((1, CLASSES), UNIT, 0), "logits")]))
