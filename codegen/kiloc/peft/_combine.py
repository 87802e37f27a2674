"""Which methods may stand together on one layer: what each adds to it, its `part`, names the parts that it excludes.

A bias is trained once, whichever methods name it, and goes together with everything. A layer takes LoRA or a delta (of Full, SparseUpdate
or Head), one of them: LoRA beside a delta of the same weights adds nothing, and two of a kind would be one with more parameters.
Gains and bottleneck adapters go together with all others, once a layer. A new head (Head(classes=N)) replaces its layer, so it is attached
before all others.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import CompileError
from ..ir.graph import Graph, Node
from ._registry import REGISTRY, Calibration, Method, Part, method_of, unregistered


def attach_all(graph: Graph, methods: Sequence[Method], calibration: Calibration) -> Graph:
    """The graph with every method attached. Raises CompileError where two do not go together, or one is not registered."""
    for method in sorted(methods, key=lambda m: not m.replaces_layers):
        if REGISTRY.get(method.name) is not type(method):
            raise unregistered(type(method).__name__)
        graph = method.attach(graph, calibration)
    return graph


def parts(graph: Graph, node: Node) -> dict[Part, type[Method]]:
    """What a layer has already beside a trained bias, and the method that added it."""
    bias = node.inputs.get("bias")
    owners = [method_of(p.method) for p in graph.parameters if p.layer == node.name and p.values["value"] != bias]
    return {owner.part: owner for owner in owners if owner.part is not None}


def exclude(one: Part | None, other: Part | None) -> bool:
    """Whether a layer cannot have both parts."""
    return one is not None and other is not None and (one.name in other.excludes or other.name in one.excludes)


def require_free(graph: Graph, node: Node, method: type[Method]) -> None:
    """Raise CompileError where a layer has a part that excludes the method's."""
    for part, owner in parts(graph, node).items():
        if exclude(part, method.part):
            what = f"it has {part.title} ({owner.__name__}) already, which does not go together with {method.__name__}"
            raise CompileError(f"layer '{node.name}'", what, "name other layers in the layers= of one of the two methods")
