"""Limits attention to positions that are near, where a build asks for it: the one option that changes what a model computes."""

from __future__ import annotations

from dataclasses import replace

from ..errors import CompileError
from ..ir.graph import Graph
from ..ops.model.softmax import Softmax
from ..ops.model.windowed_softmax import WindowedSoftmax
from .fuse_attention import fuse_attention


def with_window(graph: Graph, window: int | None) -> Graph:
    """The graph whose positions see `window` positions on either side, themselves included, and with a causal mask as many before. None: as it is.

    Raises CompileError where there is no attention that is computed by rows, or a sequence is shorter.
    """
    if window is None:
        return graph
    where, rows = f"attention_window={window}", fuse_attention(graph)
    found = {n.name for n in graph.nodes if isinstance(n.op, Softmax)} - {n.name for n in rows.nodes}
    if not found:
        why = next((note for note in rows.notes if note not in graph.notes), "it has no product of queries and keys with a softmax behind it")
        raise CompileError(where, f"{graph.name} has no attention that is computed by rows: {why}", "leave attention_window out")
    nodes, sizes = [], set[int]()
    for node in graph.nodes:
        if node.name in found and isinstance(node.op, Softmax):
            *_, queries, keys = graph.type(node.inputs["x"]).shape
            if queries != keys:
                raise CompileError(where, f"'{node.name}' compares {queries} positions with {keys} others", "leave attention_window out")
            if window > keys:
                raise CompileError(where, f"'{node.name}' compares no more than {keys} positions", f"pass 1 to {keys}, or leave it out")
            sizes.add(keys)
            node = replace(node, op=WindowedSoftmax(node.op.beta, window))
        nodes.append(node)
    of = ", ".join(map(str, sorted(sizes)))
    note = f"attention_window={window}: positions see {window} of {of} on either side, so results are not those of the file"
    return replace(graph, nodes=tuple(nodes), notes=(*graph.notes, note))
