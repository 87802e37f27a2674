"""A trained delta beside frozen weights: what Full, SparseUpdate and Head share.

V has the weights' shape, or rows for some output channels only; int8 codes with one power of two, kept in 16 bits for training. V = 0 adds
nothing: the layer starts bit-exact. Full and SparseUpdate merge it into the weights where each of these meets many positions
(`ops/_merged.py`): a call makes the layer's weights once, and multiplies with them as a plain layer. Elsewhere, where making weights would take
longer than to multiply twice, and where a head may grow beyond what its frozen weights' scale reaches, the forward sum is W x + V x and the
gradient to the input (W + V)^T g: `ops/model/_linear.py`. An LSTM has one for its input and one for its hidden state, with rows for the same
channels: `ops/_lstm.py`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..ir.graph import Graph, Node, Parameter, Value
from ..ir.types import TensorType
from ..ir.verify import node_types
from ..ops._lstm import DELTAS
from ..ops._merged import MERGED, ROWS, lowest_weight
from ..ops.model._linear import Linear
from ..ops.model.depthwise_conv_2d import DepthwiseConv2D
from ..ops.model.lstm import Lstm
from ._combine import require_free
from ._method import block16, replace_node, with_trainable_bias
from ._registry import BIAS_ROLE, Method, Part, Role

LARGEST_SUM = 2**31 - 1

FEWEST_POSITIONS = 8
"""That a weight meets where its delta is merged."""

DELTA = Part("delta", "a trained delta of its weights", ("delta", "lora"))
DELTA_ROLES = {**BIAS_ROLE, "delta": Role(4)}
LSTM_DELTA_ROLES = {**DELTA_ROLES, "recurrent_delta": Role(8)}


def channel_axis(node: Node) -> int:
    """The axis of the weights that counts output channels."""
    return 3 if isinstance(node.op, DepthwiseConv2D) else 0


def attach_delta(
    graph: Graph, node: Node, method: type[Method], chosen: NDArray[np.int64] | None = None, trained_as: str = "", merging: bool = False
) -> Graph:
    """The layer with a delta and a trained bias.

    chosen: its output channels that get one, ascending; None for all. trained_as: the method that its parameters name, if not `method`'s name.
    merging: the delta is merged into the weights where that takes less than a second product.
    """
    require_free(graph, node, method)
    name = trained_as or method.name
    graph = with_trainable_bias(graph, node, name)
    axis, channels = channel_axis(node), graph.type(node.inputs["bias"]).size
    inputs, values, parameters = dict(node.inputs), list[Value](), list[Parameter]()
    merged = merging and is_merged(graph, node)
    for operand, delta in DELTAS.items() if isinstance(node.op, Lstm) else (("weights", "delta"),):
        shape = list(graph.type(node.inputs[operand]).shape)
        shape[axis] = channels if chosen is None else len(chosen)
        _check_sums(graph, node, shape, axis, merged)
        value, delta = f"{node.name}.{delta}", MERGED if merged else delta
        inputs |= {delta: value, f"{delta}_exponent": f"{value}.exponent"}
        roles, state = block16(value, np.zeros(shape, np.int8), -24)
        values += state
        parameters.append(Parameter(value, node.name, name, "block16", roles))
    if chosen is not None and len(chosen) < channels:
        rows = np.full(channels, -1, np.int16)
        rows[chosen] = np.arange(len(chosen))
        table = f"{node.name}.delta_rows"
        inputs[ROWS if merged else "delta_rows"] = table
        values.append(Value(table, TensorType((channels,), "int16"), "constant", rows, node.origin))
    graph = replace_node(graph.with_values(values), replace(node, inputs=inputs))
    return replace(graph, parameters=(*graph.parameters, *parameters))


def is_merged(graph: Graph, node: Node) -> bool:
    """Whether a delta of this layer is merged into its weights."""
    t = node_types(graph, node)
    positions = t.result().size // t.type("bias").size
    return isinstance(node.op, DepthwiseConv2D) or (isinstance(node.op, Linear) and positions >= FEWEST_POSITIONS)


def _check_sums(graph: Graph, node: Node, shape: list[int], axis: int, merged: bool) -> None:
    """Codes up to 127, or 128 of merged weights where a frozen one is -128: the sums over inputs (forward), channels (to the input) and positions (of
    the gradient) stay in int32.

    To merged weights a trained bias is added, which takes half of it.
    """
    t = node_types(graph, node)
    size, positions = int(np.prod(shape)), node.op.memory.steps_of(t) if isinstance(node.op, Lstm) else t.result().size // t.type("bias").size
    inputs = size // shape[axis]
    depthwise = isinstance(node.op, DepthwiseConv2D)
    across = size if depthwise else size // shape[-1]
    code, bias = 127, 1
    if merged:
        weights = graph.values[node.inputs["weights"]].data
        assert weights is not None
        code, bias = -lowest_weight(weights), 2
    sums = (("inputs", code * 255 * inputs * bias), ("results of one input", code * 127 * across), ("positions", 127 * 255 * positions))
    for what, largest in sums:
        if largest > LARGEST_SUM:
            raise CompileError(f"layer '{node.name}'", f"a trained delta has too many {what}: its sums may leave int32", "train it with LoRA")
