"""A model that is trained on whole sequences: what goes through one in a single call begins it anew at each call.

TensorFlow Lite keeps the state of an LSTM from call to call, until somebody resets it. A sample of a training is a sequence of its own, in no
order with others, so there each call begins as the first one after a reset does. What reads one slice a call has nothing to begin anew with.
"""

from __future__ import annotations

from dataclasses import replace

from ..errors import CompileError
from ..ir.graph import STREAM, Graph, Node
from ..ir.verify import node_types
from ..ops.model.lstm import Lstm


def with_whole_sequences(graph: Graph) -> Graph:
    """The graph without values that are kept from call to call. Raises CompileError where a sample would not be all that a result depends on."""
    if not graph.streams():
        return graph
    changed = [_begun_anew(graph, node) for node in graph.nodes]
    read = {v for node in changed for v in node.inputs.values()}
    left = [v for v in graph.streams() if v.name in read]
    if left:
        kept = sum(v.type.bytes for v in left)
        raise CompileError(
            graph.origin, f"keeps {kept:,} bytes from call to call, so one sample is not all that a result depends on: it cannot be trained",
            "build it for inference (method none), and train the form of the model that reads a whole window at once",
        )  # fmt: skip
    begun = [n.name for n in changed if isinstance(n.op, Lstm)]
    notes = [f"{', '.join(begun)}: each call is a sequence of its own, as after a reset"] if begun else []
    values = {name: value for name, value in graph.values.items() if value.kind != STREAM}
    return replace(graph, values=values, nodes=tuple(changed), notes=(*graph.notes, *notes))


def _begun_anew(graph: Graph, node: Node) -> Node:
    if not isinstance(node.op, Lstm) or node.op.memory.steps_of(node_types(graph, node)) == 1:
        return node
    return replace(node, inputs={o: v for o, v in node.inputs.items() if o not in node.op.kept}, updates=())
