"""Constants that targets with Helium add: sums of weights, and for gradients to inputs weights transposed, where kernels read them."""

from __future__ import annotations

import numpy as np
import pytest

from kiloc.ir.graph import Graph, Node, Value
from kiloc.ir.operator import NodeTypes
from kiloc.ir.types import Quantization, TensorType, activation, gradient
from kiloc.ops._offset_sums import OPERAND
from kiloc.ops._window import Window
from kiloc.ops.backward.input_gradient import LONGEST_RUN, TRANSPOSED, LinearInputGradient, with_transposed
from kiloc.ops.model.conv_2d import Conv2D
from kiloc.ops.model.depthwise_conv_2d import DepthwiseConv2D
from kiloc.passes.kernels import with_kernels


def graph(smallest: int = -127, rounding: str = "twice") -> Graph:
    """A 2x2 convolution, then a depthwise one."""
    r = np.random.default_rng(3)
    types = {"x": activation((1, 5, 4, 3), 0.1, -7), "y": activation((1, 4, 3, 6), 0.2, 4), "z": activation((1, 3, 2, 6), 0.3, 1)}
    weights = {"w": r.integers(-127, 128, (6, 2, 2, 3)).astype(np.int8), "v": r.integers(-127, 128, (1, 2, 2, 6)).astype(np.int8)}
    weights["v"][0, 1, 1, 2] = smallest
    values = [Value(n, t, "input" if n == "x" else "activation") for n, t in types.items()]
    values += [Value(n, TensorType(w.shape, "int8", Quantization((0.05,), 0)), "constant", w) for n, w in weights.items()]
    values += [Value(n, TensorType((6,), "int32"), "constant", np.arange(6, dtype=np.int32)) for n in ("b", "c")]
    nodes = (
        Node("conv", Conv2D("none", rounding, 1.0, Window((2, 2))), {"x": "x", "weights": "w", "bias": "b"}, ("y",)),
        Node("depthwise", DepthwiseConv2D(Window((2, 2))), {"x": "y", "weights": "v", "bias": "c"}, ("z",)),
    )
    return Graph("two", {v.name: v for v in values}, nodes, ("x",), ("z",))


def tables(g: Graph) -> dict[str, list[int]]:
    return {n.name: np.asarray(g.values[n.inputs[OPERAND]].data).tolist() for n in g.nodes if OPERAND in n.inputs}


def test_tables_hold_the_offset_times_the_sums() -> None:
    g = graph()
    w, v = (np.asarray(g.values[n].data).astype(int) for n in ("w", "v"))
    found = tables(with_kernels(g, "cortex-m55"))
    assert found == {"conv": (7 * w.sum((1, 2, 3))).tolist(), "depthwise": (-4 * v.sum((0, 1, 2))).tolist()}


@pytest.mark.parametrize("target", ["", "cortex-m0plus", "cortex-m4"])
def test_other_targets_have_no_tables(target: str) -> None:
    assert tables(with_kernels(graph(), target)) == {}


def test_layers_whose_kernels_do_not_read_them_have_none() -> None:
    """A depthwise kernel adds two products in 16 bits, which weights of -128 leave; layers rounded once are portable."""
    assert tables(with_kernels(graph(smallest=-128, rounding="once"), "cortex-m55")) == {}


def input_gradient(channels: int = 6, stride: tuple[int, int] = (1, 1), shift: int = 9) -> tuple[Node, NodeTypes, dict[str, Value]]:
    window = Window((2, 3), stride)
    out = window.output(7, 8)
    op = LinearInputGradient(window, (7, 8, 4), (*out, channels), shift, 1.0, (1, 7, 8, 4))
    types = {"g": gradient((1, *out, channels), 1.0), "weights": TensorType((channels, 2, 3, 4), "int8", Quantization((0.1,), 0))}
    w = np.random.default_rng(4).integers(-127, 128, types["weights"].shape).astype(np.int8)
    node = Node("dx", op, {"g": "g", "weights": "w"}, ("dx",), phase="backward")
    return node, NodeTypes(types), {"w": Value("w", types["weights"], "constant", w)}


def test_transposed_weights_are_ordered_by_input_channel() -> None:
    node, types, values = input_gradient()
    chosen, added, slow = with_transposed(node, types, values)
    assert chosen.inputs[TRANSPOSED] == added[0].name and slow == ""
    found, w = np.asarray(added[0].data).reshape(4, 2, 3, 6), np.asarray(values["w"].data)
    assert all(found[k, y, x, c] == w[c, y, x, k] for k in range(4) for y in range(2) for x in range(3) for c in range(6))


@pytest.mark.parametrize(
    ("changed", "reason"), [({"channels": LONGEST_RUN // 6 + 1}, "products"), ({"stride": (3, 2)}, "stride"), ({"shift": 16}, "bits")]
)
def test_gradients_that_a_transposed_product_does_not_fit_keep_their_weights(changed: dict[str, object], reason: str) -> None:
    chosen, added, slow = with_transposed(*input_gradient(**changed))  # type: ignore[arg-type]
    assert added == [] and TRANSPOSED not in chosen.inputs and reason in slow
