"""Activation offloading: saved values that wait in slow memory for the backward phase instead of in the arena.

Source: Rhu et al., "vDNN: Virtualized Deep Neural Networks for Scalable, Memory-Efficient Neural Network Design" (2016).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from ..ir.graph import Graph, Node
from ..ops.paging.page import Page, PageIn, PageOut


def offload(part: Graph, names: Collection[str]) -> Graph:
    """The training slice in which these saved values leave the arena once the forward phase has read them.

    Each is written to slow memory right after it was made, and read back right before what first reads it in the backward phase.
    """
    back: dict[str, str] = {}
    nodes: list[Node] = []
    values = dict(part.values)
    for node in part.nodes:
        if node.phase != "forward":
            for name in (v for v in dict.fromkeys(node.inputs.values()) if v in names and v not in back):
                back[name] = f"{name}.back"
                values[back[name]] = replace(part.values[name], name=back[name])
                nodes.append(Node(f"{name}.in", PageIn(), {"x": f"{name}.paged"}, (back[name],), phase="backward"))
            node = replace(node, inputs={operand: back.get(v, v) for operand, v in node.inputs.items()})
        nodes.append(node)
        for name in node.outputs:
            if node.phase == "forward" and name in names:
                values[f"{name}.paged"] = replace(part.values[name], name=f"{name}.paged", kind="offloaded")
                nodes.append(Node(f"{name}.out", PageOut(), {"x": name}, (f"{name}.paged",)))
    return part.with_values(values.values()).with_nodes(nodes)


def moved_bytes(part: Graph) -> int:
    """Bytes that offloaded values move in a training step, both ways together."""
    return sum(part.type(node.inputs["x"]).bytes for node in part.nodes if isinstance(node.op, Page))
