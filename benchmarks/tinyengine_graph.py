"""The forward part of TinyEngine's on-device training example (MCUNet, 128x128x3), as a graph of ours.

Read from TinyEngine's own JSON form, parameters and scales. Its convolutions clamp in a node of their own, which are one here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import kilotune as kt
from kiloc.frontend.build import GraphBuilder
from kiloc.ir.graph import Graph
from kiloc.ir.types import Quantization, TensorType, activation
from kiloc.ir.verify import verify
from kiloc.ops._window import Window
from kiloc.ops.model.add import Add
from kiloc.ops.model.average_pool_2d import AveragePool2D
from kiloc.ops.model.conv_2d import Conv2D
from kiloc.ops.model.depthwise_conv_2d import DepthwiseConv2D
from kiloc.peft import Method

FILES = ("tinyengine_49kb-int8-graph.json", "tinyengine_49kb_int8_params.npz", "tinyengine_scale.json")
BIASES = (
    "v8_conv_1 v8_conv_2 v9_conv_0 v9_conv_1 v9_conv_2 v10_conv_0 v10_conv_1 v10_conv_2 v11_conv_0 v11_conv_1 v11_conv_2 "
    "v12_conv_0 v12_conv_1 v12_conv_2 v13_conv_0 v13_conv_1 v13_conv_2 v14_conv_0 v14_conv_1 v14_conv_2 v15"
)
"""The layers whose biases its sparse scheme trains."""
LARGEST_BIAS = 2**29
"""Two biases of the first layer leave no room for its sums in int32; memory does not depend on them."""
WEIGHTS = {"v11_conv_0": 0.5, "v10_conv_0": 0.5, "v9_conv_0": 0.25}
"""Share of the weights it trains beside the last layer's. It takes input channels, we take as many output channels."""


def trainable() -> list[Method]:
    """The same trainable set: 21 biases, the last layer, a share of three others."""
    sparse: list[Method] = [kt.SparseUpdate(layers=layer, fraction=share) for layer, share in WEIGHTS.items()]
    return [kt.BiasOnly(layers=BIASES.replace(" ", ",")), kt.Full(layers="v15"), *sparse]


class _Reader:
    def __init__(self, folder: Path) -> None:
        graph, parameters, scales = (folder / name for name in FILES)
        self.nodes = json.loads(graph.read_text())
        self.parameters: dict[str, NDArray[Any]] = dict(np.load(parameters))
        self.scales: dict[str, float] = json.loads(scales.read_text())
        self.b = GraphBuilder("mcunet_128", graph.name)
        self.known: dict[str, str] = {}

    def read(self) -> Graph:
        self.known["input"] = self.b.input(activation((1, 128, 128, 3), self.scales["v0_x_scale"], self.zero_point("v0_zero_x")), "input")
        y = "input"
        for node in self.nodes:
            if node["type"] == "reshape":
                break
            y = getattr(self, f"_{node['type'].replace('nn.', '')}")(node)
            self.known[node["outputs"][0]["name"]] = y
        return verify(self.b.finish([y]))

    def zero_point(self, name: str) -> int:
        return int(self.parameters[name][0])

    def _mcuconv2d(self, node: Any) -> str:
        name = node["inputs"][1]["name"].removesuffix("_weight")
        x, attributes = self.known[node["inputs"][0]["name"]], node["attrs"]
        weights, bias = self.parameters[f"{name}_weight"], self.parameters[f"{name}_bias"]
        effective = self.parameters[f"{name}_scale"].astype(np.float64)
        x_scale, y_scale = self.b.values[x].type.scale, self.scales[f"{name}_y_scale"]
        pad: Any = tuple(attributes["padding"])
        window = Window(weights.shape[2:], tuple(attributes["strides"]), pad)
        depthwise = attributes["groups"] > 1
        order = (1, 2, 3, 0) if depthwise else (0, 2, 3, 1)
        quantization = Quantization(tuple(float(np.float32(s)) for s in effective * y_scale / x_scale), 0, 3 if depthwise else 0)
        operands = {
            "x": x,
            "weights": self.b.constant(f"{name}.weights", weights.transpose(order), quantization, name),
            "bias": self.b.constant(f"{name}.bias", np.clip(bias, -LARGEST_BIAS, LARGEST_BIAS).astype(np.int32), None, name),
        }
        _, height, width, _ = self.b.values[x].type.shape
        result = activation((1, *window.output(height, width), len(bias)), y_scale, self.zero_point(f"{name}_zero_y"))
        return self.b.node(name, DepthwiseConv2D(window) if depthwise else Conv2D(window=window), operands, result, name)

    def _mcutruncate(self, node: Any) -> str:
        return self.known[node["inputs"][0]["name"]]

    def _mcuadd(self, node: Any) -> str:
        x, y = (self.known[i["name"]] for i in node["inputs"][:2])
        prefix = node["inputs"][2]["name"].removesuffix("_zero_x1")
        scale = float(self.parameters[f"{prefix}_scale_y"][0])
        result = activation(self.b.values[x].type.shape, scale, self.zero_point(f"{prefix}_zero_y"))
        return self.b.node(prefix, Add(), {"x": x, "other": y}, result, prefix)

    def _mcumean(self, node: Any) -> str:
        x = self.known[node["inputs"][0]["name"]]
        t: TensorType = self.b.values[x].type
        _, height, width, channels = t.shape
        return self.b.node("mean", AveragePool2D(Window((height, width))), {"x": x}, activation((1, 1, 1, channels), t.scale, t.zero_point), "mean")


def read(folder: Path) -> Graph:
    """The graph, from the folder that holds FILES."""
    return _Reader(folder).read()
