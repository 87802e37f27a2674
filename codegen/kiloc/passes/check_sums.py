"""Refuses layers whose sums may leave int32, which no kernel checks."""

from __future__ import annotations

import numpy as np

from ..errors import CompileError
from ..ir.graph import Graph
from ..ir.verify import node_types
from ..ops.model._linear import Linear
from ..ops.wide._layer import WideLayer


def check_sums(graph: Graph) -> Graph:
    """The graph itself. Raises CompileError where sums of a layer with the model's own bias may overflow."""
    for node in graph.nodes:
        if isinstance(node.op, Linear) or node.op.mnemonic == "depthwise_conv_2d":
            _check_sums(graph, node.inputs["weights"], node.inputs["bias"], node.origin)
        if isinstance(node.op, WideLayer):
            weights, bias = (graph.values[node.inputs[o]].data for o in ("weights", "bias"))
            assert weights is not None and bias is not None
            what = node.op.may_overflow(node_types(graph, node), weights, bias)
            if what is not None:
                wider = " and with biases of int64" if bias.dtype == np.int32 else ""
                raise CompileError(node.origin, what, f"export with smaller biases or fewer inputs a layer{wider}")
    return graph


def _check_sums(graph: Graph, weights: str, bias: str, where: str) -> None:
    """|bias| + 255 sum |w| stays in int32 for every channel, so that plain C sums cannot overflow."""
    w, b = graph.values[weights].data, graph.values[bias].data
    assert w is not None and b is not None
    magnitude = np.abs(w.astype(np.int64))
    sums = magnitude.reshape(len(b), -1).sum(1) if w.shape[0] == len(b) else magnitude.sum(tuple(range(w.ndim - 1)))
    worst = np.abs(b.astype(np.int64)) + 255 * sums
    if worst.max() >= 2**31:
        raise CompileError(where, f"the sums of channel {int(worst.argmax())} may leave int32", "export with smaller biases or fewer inputs a layer")
