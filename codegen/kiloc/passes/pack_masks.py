"""What is saved for the clamp masks: one bit an element instead of the whole tensor, where nothing else needs the tensor."""

from __future__ import annotations

from dataclasses import replace

from ..ir.graph import Graph, Node, Value
from ..ir.operator import NodeTypes
from ..ops.backward.gradient_mask import ApplyMask, MaskGradient, SaveMask


def pack_masks(graph: Graph) -> Graph:
    """Replace masks read from saved activations by packed bits made in the forward pass."""
    producers = graph.producers()

    def root(name: str) -> str:
        while name in producers and producers[name].op.view:
            name = producers[name].inputs["x"]
        return name

    backward = graph.phase("backward")
    whole = {root(v) for n in backward if not isinstance(n.op, MaskGradient) for v in n.inputs.values()}
    saves: dict[str, Node] = {}
    values: list[Value] = []
    changed: dict[str, Node] = {}
    for node in backward:
        if not isinstance(node.op, MaskGradient) or root(node.inputs["y"]) in whole:
            continue
        y = node.inputs["y"]
        save = SaveMask(node.op.low, node.op.high)
        bits = f"{y}.mask"
        type_ = save.infer(NodeTypes({"y": graph.type(y)}))[0]
        if y not in saves:
            saves[y] = Node(bits, save, {"y": y}, (bits,), origin=node.origin)
            values.append(Value(bits, type_, "saved"))
        assert saves[y].op == save, f"two masks of {y}"
        changed[node.name] = replace(node, op=ApplyMask(), inputs={"g": node.inputs["g"], "mask": bits})
    nodes: list[Node] = []
    for node in graph.nodes:
        nodes.append(changed.get(node.name, node))
        nodes += [saves[v] for v in node.outputs if v in saves]
    return replace(graph.with_values(values), nodes=tuple(nodes)).with_nodes(nodes)
