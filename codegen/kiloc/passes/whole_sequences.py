"""A model that is trained: what goes through an LSTM in a single call is a sequence of its own, the slices of an SVDF go on from call to call.

TensorFlow Lite keeps the state of both until somebody resets it. A sequence of several steps is a sample of a training, in no order with others, so
each call begins as the first one after a reset does. An SVDF reads one slice a call: its samples are slices in their order, and a gradient stops at
the state that a call starts from. What else is kept has nothing to begin anew with, and no gradient that is defined.
"""

from __future__ import annotations

from dataclasses import replace

from ..errors import CompileError
from ..ir.graph import STREAM, Graph, Node
from ..ir.verify import node_types
from ..ops.model.lstm import Lstm
from ..ops.model.svdf import Svdf

TRAIN_A_WINDOW = "build it for inference (method none), and train the form of the model that reads a whole window at once"


def with_whole_sequences(graph: Graph) -> Graph:
    """The graph that is trained: what it keeps from call to call are states of SVDF alone. Raises CompileError where that cannot be."""
    if not graph.streams():
        return graph
    changed = [_begun_anew(graph, node) for node in graph.nodes]
    slices = {v for node in changed if isinstance(node.op, Svdf) for v in node.updates}
    read = {v for node in changed for v in node.inputs.values()}
    left = [v for v in graph.streams() if v.name in read - slices]
    if left:
        kept = sum(v.type.bytes for v in left)
        what = f"keeps {kept:,} bytes from call to call, so one sample is not all that a result depends on: it cannot be trained"
        raise CompileError(graph.origin, what, TRAIN_A_WINDOW)
    begun = [n.name for n in changed if isinstance(n.op, Lstm)]
    if begun and slices:
        what = f"{begun[0]} takes a sequence in one call and an SVDF a slice of one: no order of samples suits both, so it cannot be trained"
        raise CompileError(graph.origin, what, TRAIN_A_WINDOW)
    notes = [f"{', '.join(begun)}: each call is a sequence of its own, as after a reset"] if begun else []
    if slices:
        names = ", ".join(n.name for n in changed if isinstance(n.op, Svdf))
        notes.append(f"{names}: samples are slices in their order; gradients stop at the state that a call starts from")
    values = {name: value for name, value in graph.values.items() if value.kind != STREAM or name in slices}
    return replace(graph, values=values, nodes=tuple(changed), notes=(*graph.notes, *notes))


def _begun_anew(graph: Graph, node: Node) -> Node:
    if not isinstance(node.op, Lstm) or node.op.memory.steps_of(node_types(graph, node)) == 1:
        return node
    return replace(node, inputs={o: v for o, v in node.inputs.items() if o not in node.op.kept}, updates=())
